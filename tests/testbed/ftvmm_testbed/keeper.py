"""The keeper: the one process that owns a running testbed.

It is process 1 of a pid namespace and the owner of a network and a mount namespace.  Every QEMU and
every helper lives in them, so when the keeper ends, in whatever way, the kernel ends all of them, and
bridges, taps and mounts go with the namespaces.  Nothing outside knows of them.

It ends on `down`, when its owner ends (`up --owner`), when an `up` that has not finished goes away,
and on SIGTERM.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .control import Server
from .errors import TestbedError
from .instance import Instance
from .network import make_client, make_networks, run_tool
from .plan import members
from .verbs import Verbs


@dataclass(frozen=True)
class Shape:
    """What `up` was asked for: enough to make the testbed, and to tell whether one is like another."""

    hosts: int
    nfs: bool
    memory_mib: int
    cpus: int
    nested_kvm: bool
    image_dir: str


@dataclass(frozen=True)
class Inherited:
    """File descriptors from `up`."""

    startup: int  # a socket for progress; its end before `ready` means that `up` is gone
    owner: int | None  # a pidfd


class Keeper:
    def __init__(self, instance: Instance, shape: Shape) -> None:
        self._instance = instance
        self._shape = shape
        self._ending = threading.Lock()

    def end(self, code: int = 0, asked: bool = False) -> None:
        """Ends the testbed and this process, from any thread.  When `asked` to by a `down`, that one
        waits for the lock and removes its file; else nobody would."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # another thread is at it
        try:
            os.kill(-1, signal.SIGKILL)  # all processes of this pid namespace but this one
        except ProcessLookupError:
            pass
        self._instance.remove_files()
        if not asked:
            self._instance.remove_lock()
        os._exit(code)

    def bring_up(self, tell) -> None:
        """Makes everything; returns when every machine is ready.  Raises TestbedError."""
        run_tool(["mount", "-t", "sysfs", "sysfs", "/sys"])  # this network namespace's own
        self._instance.disk_dir.mkdir(parents=True, exist_ok=True)
        who = members(self._shape.hosts, self._shape.nfs)
        make_networks(who, self._instance.run_dir / "hosts")
        client = make_client(who)
        verbs = Verbs(self._instance, self._shape, who, client)
        verbs.on_down = lambda: self.end(asked=True)
        verbs.boot_all(tell)
        Server(str(self._instance.control_socket), verbs.handle)

    def watch_owner(self, pidfd: int) -> None:
        select.select([pidfd], [], [])
        self.end()

    def watch_startup(self, startup: socket.socket, ready: threading.Event) -> None:
        """`up` keeps its end open until it has read that the testbed is ready."""
        startup.recv(1)
        if not ready.is_set():
            self.end(1)


def main(argument: str) -> int:
    """The `_keeper` command; `argument` is what `spawn` made."""
    told = json.loads(argument)
    instance = Instance(told["instance"], Path(told["checkout"]))
    inherited = Inherited(**told["inherited"])
    keeper = Keeper(instance, Shape(**told["shape"]))
    signal.signal(signal.SIGTERM, lambda *_: keeper.end())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    startup, ready = socket.socket(fileno=inherited.startup), threading.Event()
    started_at = time.monotonic()

    def say(**message) -> None:
        startup.sendall(json.dumps(message).encode() + b"\n")

    def tell(text: str) -> None:
        say(progress=f"{time.monotonic() - started_at:6.1f} s  {text}")

    threading.Thread(target=keeper.watch_startup, args=(startup, ready), daemon=True).start()
    if inherited.owner is not None:
        threading.Thread(target=keeper.watch_owner, args=(inherited.owner,), daemon=True).start()
    try:
        keeper.bring_up(tell)
        ready.set()
        say(ok=True)
    except TestbedError as error:
        say(error=str(error))
        keeper.end(1)
    except Exception as error:
        say(error=f"internal error: {error!r}")
        keeper.end(1)
    while True:
        signal.pause()


def spawn(
    instance: Instance, shape: Shape, lock: int, owner: int | None, program: Path
) -> tuple[subprocess.Popen, socket.socket]:
    """Starts a keeper detached from the caller.  Returns its parent process and the startup socket.

    The keeper and its `unshare` parent inherit `lock`: it is free again only when every process of the
    testbed is dead, as the parent ends after the last of them.
    """
    ours, theirs = socket.socketpair()
    inherited = Inherited(startup=theirs.fileno(), owner=owner)
    argument = json.dumps({
        "instance": instance.name, "checkout": str(instance.checkout),
        "shape": asdict(shape), "inherited": asdict(inherited),
    })  # fmt: skip
    keep = [lock, theirs.fileno()] + ([owner] if owner is not None else [])
    with open(instance.run_dir / "keeper.log", "ab") as log:
        process = subprocess.Popen(
            ["unshare", "--pid", "--net", "--mount", "--fork", "--kill-child", "--mount-proc",
             sys.executable, str(program), "_keeper", argument],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            pass_fds=keep, start_new_session=True,
        )  # fmt: skip
    theirs.close()
    return process, ours
