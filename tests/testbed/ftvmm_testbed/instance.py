"""Which testbed is meant, and where its files are.  One checkout has one testbed unless told otherwise."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError

RUN_ROOT = Path("/run/ftvmm-testbed")
CHECKOUT = Path(__file__).resolve().parents[3]


def default_name(checkout: Path) -> str:
    """A short name that differs between checkouts and stays the same for one."""
    return "t-" + hashlib.sha256(str(checkout).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Instance:
    """One testbed: its name and its places.  Nothing here exists until it is up."""

    name: str
    checkout: Path

    @property
    def build_dir(self) -> Path:
        """The checkout's build tree, which hosts see at /build."""
        return self.checkout / "build"

    @property
    def cache_dir(self) -> Path:
        """Images and downloaded packages, shared by all testbeds of the checkout."""
        return self.build_dir / "testbed"

    @property
    def deb_cache(self) -> Path:
        """Debian packages that builds of images have downloaded.  Requires `build_lock` held."""
        return self.cache_dir / "debs"

    @property
    def build_lock(self) -> Path:
        return self.cache_dir / "build.lock"

    def any_running(self) -> bool:
        """Whether a testbed of this checkout may be up, under whatever name."""
        return any(self.cache_dir.glob("run-*"))

    @property
    def disk_dir(self) -> Path:
        """The hosts' disks, which can grow large."""
        return self.cache_dir / f"run-{self.name}"

    @property
    def run_dir(self) -> Path:
        """Sockets and logs.  Short on purpose: the path of a socket has at most 108 bytes."""
        return RUN_ROOT / self.name

    @property
    def control_socket(self) -> Path:
        return self.run_dir / "control"

    def serial_log(self, host: str) -> Path:
        return self.run_dir / f"{host}.serial"

    def ssh_socket(self, host: str) -> Path:
        return self.run_dir / f"{host}.ssh"

    @property
    def _lock_file(self) -> Path:
        return RUN_ROOT / f"{self.name}.lock"

    def lock(self) -> int | None:
        """The lock that a living testbed holds, as a file descriptor; None when it is held.

        It belongs to the open file, so the keeper that inherits it holds it until its very end.
        """
        RUN_ROOT.mkdir(parents=True, exist_ok=True)
        while True:
            fd = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), os.stat(self._lock_file)):
                    return fd
            except BlockingIOError:
                os.close(fd)
                return None
            except FileNotFoundError:
                pass
            os.close(fd)  # its last holder removed the file between our open and our lock

    def remove_lock(self) -> None:
        """Requires the lock, and that everything else is removed."""
        self._lock_file.unlink(missing_ok=True)

    def sweep(self) -> bool:
        """Removes all files of a testbed that has ended.  False, and nothing done, if one lives."""
        fd = self.lock()
        if fd is None:
            return False
        self.remove_files()
        self.remove_lock()
        os.close(fd)
        return True

    def remove_files(self) -> None:
        """Requires the lock.  Removes what this testbed wrote; the images stay."""
        shutil.rmtree(self.run_dir, ignore_errors=True)
        shutil.rmtree(self.disk_dir, ignore_errors=True)


def select(name: str | None, checkout: Path = CHECKOUT) -> Instance:
    """The instance named on the command line, else by FTVMM_TESTBED, else by the checkout."""
    chosen = name or os.environ.get("FTVMM_TESTBED") or default_name(checkout)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", chosen):
        raise TestbedError(
            f"'{chosen}' cannot name a testbed: use up to 32 letters, digits, '-' and '_'"
        )
    return Instance(chosen, checkout)
