"""Boots a guest image with plain QEMU, to show that an image works wherever it runs later."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from pathlib import Path

from agent import ConsoleAgent

ADDRESS = "10.0.2.15"  # what QEMU's user network expects of a guest
EMPTY_DISK_BYTES = 16 << 20
LIMIT_S = 300  # a guest that is emulated on a busy machine; usual is a tenth of it


class Guest:
    """A running guest: its serial console, its virtio console, and a port here that leads to its ssh.

    Use it in a `with`: at the end QEMU is killed and its scratch files are gone.
    """

    def __init__(self, image: Path, append: str = "", accel: str = "tcg") -> None:
        self.image = image
        self._append = append
        self._accel = accel

    def __enter__(self) -> Guest:
        self._scratch = tempfile.TemporaryDirectory(prefix="ftvmm-guest-")
        folder = Path(self._scratch.name)
        self.ssh_port = _free_port()
        self._qemu = subprocess.Popen(
            self._command(folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            self.serial = self._console(folder / "serial")
            self.hvc = self._console(folder / "hvc")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _command(self, folder: Path) -> list[str]:
        words = [f"console=ttyS0 panic=-1 ip={ADDRESS}::10.0.2.2:255.255.255.0:guest:eth0:off", self._append]
        if (self.image / "disk.img").exists():
            words.append("root=/dev/vda ro")
        command = [
            "setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-M", "pc", "-accel", self._accel,
            "-m", "512", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", str(self.image / "vmlinuz"), "-initrd", str(self.image / "initrd.img"),
            "-append", " ".join(words),
            "-chardev", f"socket,id=serial,path={folder}/serial,server=on,wait=off", "-serial", "chardev:serial",
            "-chardev", f"socket,id=hvc,path={folder}/hvc,server=on,wait=off",
            "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=hvc",
            "-device", "virtio-rng-pci",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.ssh_port}-{ADDRESS}:22",
            "-device", "virtio-net-pci,netdev=net,romfile=",
        ]  # fmt: skip
        return command + ["-drive", f"if=virtio,snapshot=on,format=raw,file={self._disk(folder)}"]

    def _disk(self, folder: Path) -> Path:
        """The image's disk, which stays as it is; an empty one for an image without."""
        if (self.image / "disk.img").exists():
            return self.image / "disk.img"
        with open(folder / "disk.img", "wb") as disk:
            disk.truncate(EMPTY_DISK_BYTES)
        return folder / "disk.img"

    def _console(self, path: Path) -> ConsoleAgent:
        deadline = time.monotonic() + 30
        while True:
            try:
                return ConsoleAgent(path)
            except OSError:
                if self._qemu.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"QEMU did not start: {self._words()}") from None
                time.sleep(0.05)

    def _words(self) -> str:
        return self._qemu.stderr.read().strip() if self._qemu.poll() is not None else "it has not ended either"

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command over the network, by the image's key."""
        return subprocess.run(
            ["ssh", "-F", "none", "-i", self.image / "id_ed25519", "-p", str(self.ssh_port), "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
             "-o", "ConnectTimeout=60", "root@127.0.0.1", command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip

    def wait_end(self) -> None:
        """Waits until the guest has switched itself off."""
        self._qemu.wait(LIMIT_S)

    def __exit__(self, *_) -> None:
        self._qemu.kill()
        self._qemu.wait()
        self._qemu.stderr.close()
        for console in ("serial", "hvc"):
            if hasattr(self, console):
                getattr(self, console).close()
        self._scratch.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
