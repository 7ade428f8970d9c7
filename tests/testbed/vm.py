"""A VM on a host of the testbed: `ftvmm run` there, and its two consoles, its ssh and its exits as tests see them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "guest-image"))
from agent import ConsoleAgent  # noqa: E402
from harness import Testbed, wait_until  # noqa: E402

# Where hosts see the binaries and the guests that are tested: /build is the checkout's build folder.
FTVMM = f"/build/{os.environ.get('FTVMM_PRESET', 'dev')}/ftvmm"
IMAGES = "/build/guest-images"
KEY = HERE.parents[1] / "build/guest-images/cloud/id_ed25519"  # generic has the same
LIMIT_S = 300  # to wait for an emulated guest on a busy machine; usual is a tenth of it
LOGIN = "guest login: "


class Exits(NamedTuple):
    """What SIGUSR1 prints, summed up."""

    total: int
    power_ons: int
    text: str


class Vm:
    """One vm.toml in a folder of its own on a host, run as often as a test likes."""

    def __init__(self, tb: Testbed, host: str, name: str, disk: str = "", image: str = "cloud",
                 address: str = "10.77.1.50", cmdline: str = "", memory: str = "512 MiB") -> None:  # fmt: skip
        self.tb, self.host, self.address, self.disk = tb, host, address, disk
        self.folder = f"/run/vm-{name}"
        words = f"console=ttyS0 ip={address}::10.77.1.1:255.255.255.0::eth0:off {cmdline}"
        self.toml = f"""name = "{name}"
uuid = "{uuid.uuid5(uuid.NAMESPACE_DNS, name)}"
memory = "{memory}"
kernel = "{IMAGES}/{image}/vmlinuz"
initrd = "{IMAGES}/{image}/initrd.img"
cmdline = "{words}{' root=/dev/vda ro quiet' if disk else ''}"
[[nic]]
mac = "52:54:00:00:00:{int(address.rsplit('.', 1)[1]):02x}"
bridge = "br0"
"""
        if disk:
            self.toml += f'[[disk]]\npath = "{disk}"\n'
        self.serial: ConsoleAgent | None = None
        self.agent: ConsoleAgent | None = None
        self._consoles: list[subprocess.Popen] = []

    def copy_disk(self, image: str = "cloud") -> None:
        self.tb.out(self.host, f"cp --sparse=always {IMAGES}/{image}/disk.img {self.disk}")

    def start(self, *options: str, verb: str = "run") -> None:
        """Starts ftvmm and connects to both consoles.  Its exit code will be in the folder."""
        folder = self.folder
        words = [FTVMM, verb, f"{folder}/vm.toml", "--headless", "--console-socket", f"serial={folder}/serial",
                 "--console-socket", f"virtio={folder}/virtio", *options]  # fmt: skip
        script = f"echo $$ > {folder}/pid; exec {shlex.join(words)}"
        self.tb.out(self.host, f"mkdir -p {folder} && cd {folder} && rm -f pid code log serial virtio")
        self.tb.run(self.host, "sh", "-c", f"cat > {folder}/vm.toml", stdin=self.toml)
        self.tb.out(self.host, f"cd {folder} && setsid sh -c "
                    + shlex.quote(f"sh -c {shlex.quote(script)}; echo $? > {folder}/code")
                    + " > log 2>&1 < /dev/null &")  # fmt: skip
        wait_until("ftvmm listens or has ended", lambda: self.sh("test -S virtio || test -s code; echo $?") == "0")
        if self.sh("test -s code; echo $?") == "0":
            raise AssertionError(f"ftvmm did not start: {self.log()}")
        self.serial, self.agent = self._console("serial"), self._console("virtio")

    def boot(self, *options: str, verb: str = "run") -> float:
        """Starts the VM and waits for the login prompt and the agent.  Returns the seconds it took."""
        start = time.monotonic()
        self.start(*options, verb=verb)
        self.await_login()
        return time.monotonic() - start

    def await_login(self) -> None:
        self.serial.wait_for(LOGIN, LIMIT_S)
        self.agent.ready(LIMIT_S)

    def _console(self, name: str) -> ConsoleAgent:
        process = self.tb.spawn(self.host, "socat", "-", f"UNIX-CONNECT:{self.folder}/{name}")
        self._consoles.append(process)
        return ConsoleAgent((process.stdout.fileno(), process.stdin.fileno()))

    def sh(self, script: str) -> str:
        """A shell script on the host, in the VM's folder."""
        return self.tb.out(self.host, f"cd {self.folder}; {script}")

    def pid(self) -> int:
        return int(self.sh("cat pid"))

    def log(self) -> str:
        """What ftvmm has said so far."""
        return self.sh("cat log")

    def signal(self, name: str) -> None:
        self.sh(f"kill -{name} $(cat pid)")

    def wait_code(self, limit_s: float = LIMIT_S) -> int:
        """Waits until ftvmm has ended; its exit code."""
        wait_until("ftvmm has ended", lambda: self.sh("test -s code; echo $?") == "0", limit_s, every_s=0.3)
        self._drop_consoles()
        return int(self.sh("cat code"))

    def kill(self) -> None:
        """Ends ftvmm if it still runs; for clean-ups."""
        self.tb.out(self.host, f"cd {self.folder} 2>/dev/null && [ -s pid ] && [ ! -s code ] && kill -KILL $(cat pid) || true")
        self._drop_consoles()

    def _drop_consoles(self) -> None:
        for process in self._consoles:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                stream.close()
        self._consoles = []

    def exits(self) -> Exits:
        """Asks ftvmm where its exits went."""
        text = self.sh("n=$(grep -c '^waits ' log); kill -USR1 $(cat pid); "
                       "until [ $(grep -c '^waits ' log) -gt $n ]; do sleep 0.05; done; tail -n 7 log")  # fmt: skip
        total = int(re.search(r"^exits (\d+)", text, re.MULTILINE)[1])
        return Exits(total, int(re.search(r"power-ons (\d+)", text)[1]), text)

    def out(self, command: str, timeout: float = LIMIT_S) -> str:
        """A command in the guest, by its agent, that must succeed."""
        done = self.agent.run(command, timeout)
        assert done.code == 0, f"{command}: {done.code}: {done.output}"
        return done.output.strip()

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command in the guest, from `client`."""
        return self.tb.run("client", "ssh", "-i", KEY, "-o", "StrictHostKeyChecking=no", "-o",
                           "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60",
                           f"root@{self.address}", command, check=False)  # fmt: skip

    def serve(self, port: int, body: str) -> None:
        """A TCP server in the guest: the lines of `body`, Python, handle each connection `c`."""
        program = ("import socket, time\ns = socket.create_server(('', %d))\nwhile True:\n c, _ = s.accept()\n"
                   " c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n" % port)  # fmt: skip
        program += "".join(f" {line}\n" for line in body.splitlines())
        self.out(f"printf %s {shlex.quote(program)} > /tmp/{port}.py; "
                 f"python3 /tmp/{port}.py > /tmp/{port}.log 2>&1 & "
                 f"until ss -Hltn sport = {port} | grep -q .; do sleep 0.2; done")  # fmt: skip

    def serve_clock(self) -> None:
        self.serve(CLOCK_PORT, "while c.recv(1):\n c.sendall(b'%.6f\\n' % time.time())")

    def clock_offset(self, tries: int = 40) -> tuple[float, float]:
        """How far the guest's clock is ahead of its host's, and the half round trip that this may be wrong by;
        of the try with the shortest round trip.  bash asks by itself: no process starts in between."""
        script = f"""
            exec 3<>/dev/tcp/{self.address}/{CLOCK_PORT}
            for ((i = 0; i < {tries}; i++)); do
                before=$EPOCHREALTIME; printf x >&3; read -r -u 3 guest; after=$EPOCHREALTIME
                echo $before $guest $after
            done"""
        lines = self.tb.run(self.host, "bash", "-c", script, timeout=LIMIT_S).stdout.split("\n")
        samples = [tuple(map(float, line.split())) for line in lines if line]
        before, guest, after = min(samples, key=lambda sample: sample[2] - sample[0])
        return guest - (before + after) / 2, (after - before) / 2


CLOCK_PORT = 7001


def measured(what: str) -> None:
    """A figure, for whoever reads the test's output."""
    print(f"measured: {what}", flush=True)


def use_bridge(tb: Testbed, *hosts: str) -> None:
    for host in hosts:
        tb.verb("bridge", host)


def drop_bridge(tb: Testbed, *hosts: str) -> None:
    for host in hosts:
        tb.verb("bridge", host, "--remove", check=False)


@contextmanager
def on_client(tb: Testbed, *command: object) -> Iterator[subprocess.Popen[str]]:
    """A command on `client` that is ended at the end: what a killed `run` leaves behind is not."""
    process = tb.spawn("client", "sh", "-c", 'echo $$; exec "$@"', "sh", *command)
    pid = process.stdout.readline().strip()
    try:
        yield process
    finally:
        tb.run("client", "kill", "-KILL", pid, check=False)
        process.communicate()


def shared_folder() -> tempfile.TemporaryDirectory:
    """A folder that `client` sees too."""
    return tempfile.TemporaryDirectory(prefix="ftvmm-run-")
