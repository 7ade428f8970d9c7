"""Commands on hosts, over ssh sessions multiplexed on one connection per host.

The keeper opens the connection (the key exchange is slow on an emulated host); a session over it is
cheap and needs only the connection's unix socket, so any process of root can open one.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path

SSH_PORT = 22
LOST = 255  # ssh's own exit code when the connection is gone


def _options(key: Path | None) -> list[str]:
    options = [
        "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
        # A paused host keeps its connection, however long the pause.
        "-o", "ServerAliveInterval=0", "-o", "TCPKeepAlive=no",
    ]  # fmt: skip
    return options + (["-i", str(key), "-o", "IdentitiesOnly=yes"] if key else [])


def master_command(key: Path, control: Path, address: str) -> list[str]:
    """The process that holds a host's connection and serves sessions over it at `control`."""
    return [
        "ssh", *_options(key), "-M", "-N", "-T", "-S", str(control), "-o", "ConnectTimeout=30",
        f"root@{address}",
    ]  # fmt: skip


def session_command(control: Path, host: str, command: list[str], tty: bool = False) -> list[str]:
    """A session over the host's connection, and never over any other.

    Each word of `command` reaches the program on the host as it is.
    """
    return [
        "ssh", *_options(None), "-S", str(control), "-o", "ControlMaster=no",
        # Without its master ssh would connect by itself, to whoever has the name out here.
        "-o", "ProxyCommand=false", "-tt" if tty else "-T", f"root@{host}",
        *([shlex.join(command)] if command else []),
    ]  # fmt: skip


def answers(address: str, timeout_s: float) -> bool:
    """Whether an ssh server greets at `address`."""
    try:
        with socket.create_connection((address, SSH_PORT), timeout=timeout_s) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


class Connection:
    """The keeper's connection to one machine."""

    def __init__(self, name: str, address: str, key: Path, control: Path) -> None:
        self.name = name
        self.address = address
        self.control = control
        self._key = key
        self._master: subprocess.Popen | None = None
        self._opening = threading.Lock()

    def ensure(self, deadline: float) -> bool:
        """Whether there is a connection, after one try to make it if there was none."""
        with self._opening:
            return self._alive() or self.open(deadline)

    def _alive(self) -> bool:
        return self._master is not None and self._master.poll() is None and self.control.exists()

    def open(self, deadline: float) -> bool:
        """Tries once to make the connection, up to `deadline` (monotonic seconds)."""
        self.close()
        self._master = master = subprocess.Popen(
            master_command(self._key, self.control, self.address),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while time.monotonic() < deadline and master.poll() is None:
            if self.control.exists():
                return True
            time.sleep(0.05)
        self.close()
        return False

    def close(self) -> None:
        """Ends every session over it; their `run` ends with LOST."""
        master, self._master = self._master, None
        if master:
            master.kill()
            master.wait()
        self.control.unlink(missing_ok=True)

    def run(self, command: list[str], timeout_s: float) -> tuple[int, str]:
        """Exit code and output, both streams in one; LOST when the host did not answer in time."""
        try:
            done = subprocess.run(
                session_command(self.control, self.name, command), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return LOST, f"no answer in {timeout_s:g} s"
        return done.returncode, done.stdout.strip()
