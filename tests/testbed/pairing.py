"""Two or more hosts of the testbed as a cluster, ftvmm on each of them for one VM, and a client that counts what the
VM does for it."""

from __future__ import annotations

import json
import shlex
import subprocess

from harness import Testbed, wait_until
from vm import FTVMM, LIMIT_S, drop_bridge, use_bridge

PORT = 4242
FOLDER = "/run/ft"
PKI = f"{FOLDER}/pki"
SHARED = "/srv/ftvmm/ft"
DISK = f"{SHARED}-disk"
SECTOR = 512
ADDRESS = {"h1": "10.77.2.11", "h2": "10.77.2.12", "h3": "10.77.2.13"}


class Cluster:
    """Hosts with certificates of one authority and a folder that all of them see."""

    def __init__(self, tb: Testbed, *hosts: str) -> None:
        self.tb, self.hosts = tb, hosts
        tb.out(hosts[0], f"rm -rf {SHARED} {SHARED}-pki; mkdir -p {SHARED}; {FTVMM} pki init {SHARED}-pki --name cluster; "
               + "; ".join(f"{FTVMM} pki issue {SHARED}-pki --host {host}" for host in hosts))  # fmt: skip
        for host in hosts:
            self.equip(host)

    def equip(self, host: str) -> None:
        """What a host needs each time that it has booted."""
        use_bridge(self.tb, host)
        self.tb.out(host, f"mkdir -p {FOLDER}; rm -rf {PKI}; cp -r {SHARED}-pki/hosts/{host} {PKI}; chmod 700 {PKI}")

    def start_host(self, host: str) -> None:
        if self.tb.state(host) == "down":
            self.tb.verb("start", host)
            self.equip(host)

    def drop(self) -> None:
        for host in self.hosts:
            self.start_host(host)
        self.tb.out(self.hosts[0], f"rm -rf {SHARED} {SHARED}-pki {DISK} {DISK}.g*")
        drop_bridge(self.tb, *self.hosts)

    def new_vm(self) -> None:
        """Nobody has run it yet."""
        self.tb.out(self.hosts[0], f"rm -rf {SHARED} {DISK} {DISK}.g*; mkdir -p {SHARED}; truncate -s 64M {DISK}")


def ft_section(dead_after_ms: int, lease_s: int, *paths: str) -> str:
    return (f'[ft]\nshared = "{SHARED}"\ndead_after_ms = {dead_after_ms}\nlease_s = {lease_s}\n'
            f"paths = {json.dumps(paths)}\n")  # fmt: skip


class Half:
    """ftvmm for the VM on one host, Primary or Secondary."""

    def __init__(self, cluster: Cluster, host: str, toml: str) -> None:
        self.cluster, self.tb, self.host, self.toml, self.folder = cluster, cluster.tb, host, toml, f"{FOLDER}/{host}"

    def start(self, *words: str) -> None:
        others = [word for host in self.cluster.hosts if host != self.host for word in ("--peer", host)]
        command = [FTVMM, words[0], "vm.toml", "--headless", "--console-socket", "serial=serial", *words[1:],
                   "--ft-listen", f"{ADDRESS[self.host]}:{PORT}", "--pki", PKI, *others]  # fmt: skip
        script = f"echo $$ > pid; exec {shlex.join(command)}"
        self.tb.out(self.host, f"mkdir -p {self.folder}; cd {self.folder}; rm -f pid code serial; mv -f log log.before || true")
        self.tb.run(self.host, "sh", "-c", f"cat > {self.folder}/vm.toml", stdin=self.toml)
        self.tb.out(self.host, f"cd {self.folder}; setsid sh -c {shlex.quote(f'sh -c {shlex.quote(script)}; echo $? > code')} "
                    "> log 2>&1 < /dev/null &")  # fmt: skip

    def run(self) -> None:
        self.start("run")

    def follow(self) -> None:
        connect = [word for host in self.cluster.hosts if host != self.host
                   for word in ("--connect", f"{ADDRESS[host]}:{PORT}")]  # fmt: skip
        self.start("secondary", *connect)

    def log(self) -> str:
        return self.tb.out(self.host, f"cat {self.folder}/log")

    def await_line(self, text: str, limit_s: float = LIMIT_S) -> None:
        try:
            wait_until(text, lambda: text in self.log(), limit_s, every_s=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.host} says: {self.log()}") from None

    def console(self) -> subprocess.Popen[str]:
        """socat on the VM's serial console here; for drop()."""
        wait_until("the console is there", lambda: self.tb.out(self.host, f"test -S {self.folder}/serial; echo $?") == "0")
        return self.tb.spawn(self.host, "socat", "-", f"UNIX-CONNECT:{self.folder}/serial")

    def signal(self, name: str) -> None:
        self.tb.out(self.host, f"kill -{name} $(cat {self.folder}/pid)")

    def code(self, limit_s: float = 60) -> int:
        wait_until(f"ftvmm on {self.host} has ended",
                   lambda: self.tb.out(self.host, f"test -s {self.folder}/code; echo $?") == "0", limit_s)  # fmt: skip
        return int(self.tb.out(self.host, f"cat {self.folder}/code"))

    def kill(self) -> None:
        if self.tb.state(self.host) == "up":
            self.tb.out(self.host, "pkill -KILL -x ftvmm || true")


class Wire:
    """What a host sends on the service network for the VM: when, by the host's kernel.  For end()."""

    def __init__(self, tb: Testbed, host: str, mac: str) -> None:
        self.tb, self.host, self.file = tb, host, f"{FOLDER}/wire"
        tb.out(host, f"rm -f {self.file}*; setsid tcpdump -i svc -Q out -tt -n -l ether src {mac} > {self.file} "
               f"2> {self.file}.said < /dev/null & echo $! > {self.file}.pid")  # fmt: skip
        wait_until("tcpdump listens", lambda: "listening" in tb.out(host, f"cat {self.file}.said"))

    def end(self) -> list[float]:
        self.tb.out(self.host, f"kill -INT $(cat {self.file}.pid)")
        wait_until("tcpdump has written all", lambda: "captured" in self.tb.out(self.host, f"cat {self.file}.said"))
        return [float(line.split()[0]) for line in self.tb.out(self.host, f"cat {self.file}").splitlines()]


def drop(console: subprocess.Popen[str]) -> None:
    console.kill()
    console.wait()
    for stream in (console.stdin, console.stdout, console.stderr):
        stream.close()


class Counting:
    """A client that asks the guest for the next number, over one TCP connection, and notes when each came.  Before the
    guest says a number it has written it to the sector of its disk with that number."""

    GUEST = ("n=0; while read line; do n=$((n + 1)); "
             f"echo $n | dd of=/dev/vda bs={SECTOR} seek=$n conv=sync,fsync 2> /dev/null && echo $n; done")  # fmt: skip

    PROGRAM = """
import json, socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=120)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
read = s.makefile()
print('ready', flush=True)
end, came = time.monotonic() + float(sys.argv[3]), []
while time.monotonic() < end:
    s.sendall(b'n\\n')
    came.append((int(read.readline()), time.monotonic()))
    time.sleep(0.01)
print(json.dumps(came))
"""

    def __init__(self, tb: Testbed, address: str, port: int, seconds: float) -> None:
        self.process = tb.spawn("client", "python3", "-c", self.PROGRAM, address, port, seconds)
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()

    def end(self) -> tuple[list[int], float]:
        """The numbers that came, and the longest time between two of them, in ms."""
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, err
        came = json.loads(out.splitlines()[-1])
        gaps = [(1e3 * (later[1] - sooner[1]), sooner[1] - came[0][1]) for sooner, later in zip(came, came[1:])]
        gap_ms, self.gap_at_s = max(gaps)
        return [number for number, _ in came], gap_ms


# Reads a disk and the overlays beside it, as docs/fencing.md tells what they are, past the page cache.
READER = """
import glob, mmap, os, struct, sys
disk, first, count, SECTOR, BLOCK = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 512, 4096
def read(path, offset, length):
    start = offset // BLOCK * BLOCK
    with mmap.mmap(-1, -(-(offset + length - start) // BLOCK) * BLOCK) as memory:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        os.preadv(fd, [memory], start)
        os.close(fd)
        return memory[offset - start:offset - start + length]
up = lambda value, unit: -(-value // unit) * unit
found = read(disk, first * SECTOR, count * SECTOR)
for path in sorted(glob.glob(disk + '.g*'), key=lambda path: int(path.rsplit('.g')[-1])):
    magic, version, generation, size, inode = struct.unpack('<8sQQQQ', read(path, 0, 40))
    assert magic == b'ftvmm ov' and version == 1 and size == os.stat(disk).st_size, path
    blocks = up(size, SECTOR * BLOCK * 8) // (SECTOR * BLOCK * 8)
    maps = BLOCK + up(up(blocks, 8) // 8, BLOCK)
    data = up(maps + blocks * BLOCK, 1 << 20)
    directory = read(path, BLOCK, up(blocks, 8) // 8)
    held = read(path, maps, blocks * BLOCK)
    newest = read(path, data + first * SECTOR, count * SECTOR)
    for i in range(count):
        bit = first + i
        if directory[bit // 32768 // 8] >> (bit // 32768 % 8) & 1 and held[bit // 8] >> (bit % 8) & 1:
            found = found[:i * SECTOR] + newest[i * SECTOR:(i + 1) * SECTOR] + found[(i + 1) * SECTOR:]
sys.stdout.buffer.write(found)
"""


def sectors(tb: Testbed, host: str, count: int) -> list[str]:
    """What the sectors behind the first one of the VM's disk hold."""
    text = tb.out(host, f"python3 -c {shlex.quote(READER)} {DISK} 1 {count} | tr -s '\\000\\n' '\\n'")
    return text.split()
