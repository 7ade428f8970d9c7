#!/usr/bin/env python3
"""Writes corpus/virtqueue: for each device what its driver does every day, in the steps of virtio_machine.cpp."""

from pathlib import Path
from struct import pack

FEATURE_MERGEABLE = 1 << 15
BLK, NET, RNG, CONSOLE = range(4)


def step(number: int, *parts: bytes, restore: bool = False) -> bytes:
    return bytes([0 if restore else 1, number]) + b"".join(parts)


def write_register(offset: int, log2_size: int, value: int) -> bytes:
    return step(0, pack("<BBHBB", log2_size, 1, offset, 0, value))


def read_register(offset: int, log2_size: int) -> bytes:
    return step(1, pack("<BH", log2_size, offset))


def write_config(offset: int, log2_size: int, value: int) -> bytes:
    return step(2, pack("<BBBI", log2_size, offset, 1, value))


def start(without: int = 0, log2_queue: int = 3) -> bytes:
    return step(3, pack("<IB", without, log2_queue))


def data(offset: int, content: bytes) -> bytes:
    return step(4, pack("<BHB", 1, offset, len(content) - 1), content)


def offer(queue: int, *buffers: tuple[int, int, int], indirect: bool = False) -> bytes:
    """Buffers are (offset, length, writable)."""
    return step(5, bytes([queue, indirect, len(buffers)]), *[pack("<HHB", *buffer) for buffer in buffers])


def ring(queue: int) -> bytes:
    return step(6, bytes([queue]))


def answer(*parts: bytes, restore: bool = False) -> bytes:
    return step(7, *parts, restore=restore)


def blk(kind: int, *buffers: tuple[int, int, int], sector: int = 0) -> bytes:
    zeroes = pack("<QII", 8, 8, 0)
    return (bytes([BLK]) + start() + data(0, pack("<IIQ", kind, 0, sector)) + data(0x40, zeroes)
            + offer(0, (0, 16, 0), *buffers, (0x1000, 1, 1), indirect=kind == 0) + ring(0)
            + answer(b"\0\0\1", restore=True) + read_register(20, 0))


# Flags and TCP segments over IPv4, as Linux sends them, and the same frame without either.
SEGMENTS = pack("<BBHHHHH", 1, 1, 54, 1448, 34, 16, 0)
PLAIN = bytes(12)


def frame(header: bytes, length: int) -> bytes:
    return header + pack("<HB", length, 0)


def net(*parts: bytes, without: int = 0) -> bytes:
    return bytes([NET]) + start(without) + b"".join(parts)


SEEDS = {
    "blk_read": blk(0, (0x100, 1024, 1), sector=5),
    "blk_past_end": blk(0, (0x100, 1024, 1), sector=4095),
    "blk_write": blk(1, (0x100, 1024, 0), sector=5),
    "blk_flush": blk(4),
    "blk_id": blk(8, (0x100, 20, 1)),
    "blk_discard": blk(11, (0x40, 16, 0)),
    "blk_zeroes": blk(13, (0x40, 16, 0)),
    "net_send": net(data(0, SEGMENTS), offer(1, (0, 12, 0), (0x100, 1500, 0)), ring(1)),
    "net_receive": net(offer(0, (0, 1526, 1)), offer(0, (0x1000, 1526, 1)),
                       answer(b"\2", frame(SEGMENTS, 48), frame(PLAIN, 1000), restore=True)),
    "net_merge": net(*[offer(0, (0x400 * i, 300, 1)) for i in range(4)], answer(b"\1", frame(SEGMENTS, 800)),
                     answer(b"\1", frame(SEGMENTS, 3000), restore=True), offer(0, (0x3000, 4000, 1)), ring(0),
                     answer(b"\1", frame(SEGMENTS, 3000))),
    "net_single": net(offer(0, (0, 100, 1)), answer(b"\2", frame(SEGMENTS, 500), frame(PLAIN, 30)),
                      without=FEATURE_MERGEABLE),
    "rng": bytes([RNG]) + start() + offer(0, (0, 64, 1)) + offer(0, (0x100, 9000, 1)) + ring(0)
           + answer(b"\1" + pack("<H", 64), restore=True) + answer(b"\0" + pack("<H", 4999)),
    "console": bytes([CONSOLE]) + start() + data(0, b"hello") + offer(1, (0, 5, 0)) + ring(1)
               + offer(0, (0x100, 2, 1)) + answer(b"\5abcde", restore=True) + offer(0, (0x200, 20, 1)) + ring(0)
               + answer(b"\3cde"),
    "reset": bytes([CONSOLE]) + start() + offer(1, (0, 5, 1)) + ring(1) + read_register(20, 0)
             + write_register(20, 0, 0) + start() + offer(1, (0, 5, 0)) + ring(1),
    "config": bytes([NET]) + write_config(4, 2, 7) + write_config(0x80, 2, 0) + step(2, pack("<BBB", 2, 0x34, 0)),
}

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent / "corpus" / "virtqueue"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (folder / name).write_bytes(content)
