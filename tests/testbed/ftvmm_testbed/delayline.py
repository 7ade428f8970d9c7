"""The long cable: brings the frames of late directions over, each after its delay.

For a late direction A -> B the bridge drops what it would forward from A's port to B's (see faults).
This process reads A's port with a raw socket as well, keeps the frames the bridge would have given
to B, and after the delay sends them out of B's port.  Frames carry their virtio-net header, so that
unfinished checksums and large segments pass as they do over the bridge.

Runs only while a delay is in force, as `_delayline` with one JSON argument: a list of cables.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import selectors
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .faults import Faults
from .network import bridge
from .plan import Member

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_VNET_HDR = 263, 15
VNET_HEADER_BYTES = 10
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER_BYTES = 8 << 20
FDB_ENTRY = struct.Struct("6sBBIBBH")  # struct __fdb_entry, linux/if_bridge.h
FDB_MAX_AGE_S = 0.02
# A second of a full gigabit in 1500-byte frames; a full cable drops, as a switch's buffer does.
MAX_IN_FLIGHT = 80_000


@dataclass(frozen=True)
class Cable:
    """One late direction, by port names."""

    bridge: str
    source: str
    target: str
    delay_s: float
    loss_permille: int


def cables(faults: Faults, members: dict[str, Member]) -> list[Cable]:
    """The cables for the faults in force.  A cut direction has none: nothing passes."""
    return [
        Cable(
            bridge(d.net), members[d.source].port(d.net), members[d.target].port(d.net),
            ms / 1000, faults.loss_permille.get(d, 0),
        )
        for d, ms in sorted(faults.delay_ms.items())
        if d not in faults.cuts
    ]  # fmt: skip


def goes_to(frame: bytes, port: int, learned: dict[bytes, int]) -> bool:
    """Whether a learning switch gives this frame to `port`: group and unknown addresses flood."""
    destination = frame[:6]
    return bool(destination[0] & 1) or learned.get(destination, port) == port


def parse_fdb(data: bytes) -> dict[bytes, int]:
    """Address -> port number, from the bridge's own table."""
    usable = len(data) - len(data) % FDB_ENTRY.size
    entries = FDB_ENTRY.iter_unpack(data[:usable])
    return {mac: low | high << 8 for mac, low, _, _, high, _, _ in entries}


class InFlight:
    """Frames under way, in the order in which they arrive.  Pure: the caller tells the time."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._heap: list[tuple[float, int, Cable, bytes]] = []
        self._order = itertools.count()
        self._chance = chance

    def put(self, cable: Cable, frame: bytes, now: float) -> None:
        if len(self._heap) >= MAX_IN_FLIGHT or self._chance() * 1000 < cable.loss_permille:
            return
        heapq.heappush(self._heap, (now + cable.delay_s, next(self._order), cable, frame))

    def take_due(self, now: float) -> list[tuple[Cable, bytes]]:
        due = []
        while self._heap and self._heap[0][0] <= now:
            _, _, cable, frame = heapq.heappop(self._heap)
            due.append((cable, frame))
        return due

    def wait_s(self, now: float) -> float | None:
        return max(0.0, self._heap[0][0] - now) if self._heap else None


class Switch:
    """The bridge's knowledge of who is behind which port, read when it has grown old."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[float, dict[bytes, int]]] = {}
        self._ports: dict[str, int] = {}

    def port(self, name: str) -> int:
        if name not in self._ports:
            text = Path(f"/sys/class/net/{name}/brport/port_no").read_text()
            self._ports[name] = int(text, 16)
        return self._ports[name]

    def learned(self, bridge_name: str, now: float) -> dict[bytes, int]:
        read_at, table = self._tables.get(bridge_name, (-1.0, {}))
        if now - read_at > FDB_MAX_AGE_S:
            table = parse_fdb(Path(f"/sys/class/net/{bridge_name}/brforward").read_bytes())
            self._tables[bridge_name] = (now, table)
        return table


def _open(port: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    raw.bind((port, ETH_P_ALL))
    raw.setblocking(False)
    return raw


def serve(todo: list[Cable]) -> None:
    """Runs for ever.  Requires the keeper's network namespace, with its own /sys."""
    sockets = {name: _open(name) for cable in todo for name in (cable.source, cable.target)}
    by_source: dict[str, list[Cable]] = {}
    for cable in todo:
        by_source.setdefault(cable.source, []).append(cable)
    switch, flight = Switch(), InFlight()
    with selectors.DefaultSelector() as selector:
        for name, raw in sockets.items():
            selector.register(raw, selectors.EVENT_READ, name)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select(flight.wait_s(time.monotonic())):
                _receive(key.fileobj, by_source.get(key.data, []), switch, flight)
            for cable, frame in flight.take_due(time.monotonic()):
                _send(sockets[cable.target], frame)


def _receive(raw: socket.socket, out: list[Cable], switch: Switch, flight: InFlight) -> None:
    for _ in range(64):  # then the frames that are due get their turn
        try:
            frame, origin = raw.recvfrom(1 << 17)
        except OSError:  # nothing more, or the port is down
            return
        if origin[2] == PACKET_OUTGOING or not out or len(frame) < VNET_HEADER_BYTES + 14:
            continue
        now = time.monotonic()
        for cable in out:
            learned = switch.learned(cable.bridge, now)
            if goes_to(frame[VNET_HEADER_BYTES:], switch.port(cable.target), learned):
                flight.put(cable, frame, now)


def _send(raw: socket.socket, frame: bytes) -> None:
    try:
        raw.send(frame)
    except OSError:  # a dead machine's port takes nothing, as a switch's would not
        pass


def main(argument: str) -> int:
    serve([Cable(**fields) for fields in json.loads(argument)])
    return 0
