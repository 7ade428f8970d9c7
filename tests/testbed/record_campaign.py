#!/usr/bin/env python3
"""Campaigns of record and replay, each a command of its own: see docs/record-replay.md, "How it is shown".

    record_campaign.py flips [--count 100]
    record_campaign.py kills [--count 50]
    record_campaign.py workload [--recordings 5] [--here 2] [--there 1] [--scale 1]

They need root and the images, and use the testbed that FTVMM_TESTBED names.  Each tells how far it has come, ends with
a table, and with exit code 1 where a bound was missed.
"""

from __future__ import annotations

import argparse
import random
import re
import shlex
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire, wait_until  # noqa: E402
from vm import FTVMM, IMAGES, LIMIT_S, Vm, drop_bridge, on_client, shared_folder, use_bridge  # noqa: E402

FOLDER = "/var/tmp/record-campaign"
FLIP_INPUT = str(Path(FTVMM).with_name("flip_input"))
REPLAY_LIMIT_S = 120
AGREES, FAILED, CUT_OFF, DIVERGED = 0, 1, 3, 5
# Something of all that a guest reads: its disk, random numbers, the time, and what is typed.
WORK = ("(head -c 3000 /dev/urandom | sha256sum) & dd if=/dev/vda bs=16k count=16 2>/dev/null | sha256sum; wait; "
        "cat /proc/sys/kernel/random/uuid; date; dd if=/dev/hwrng bs=64 count=4 2>/dev/null | sha256sum")  # fmt: skip


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def record_small_guest(tb: Testbed, name: str, *options: str) -> Vm:
    """A guest with a disk and a card in FOLDER/NAME.log, from power-on to power-off.  Needs h1's bridge."""
    vm = Vm(tb, "h1", name, f"{FOLDER}/{name}.img", image="quick", address="10.77.1.61", memory="128 MiB")
    tb.out("h1", f"mkdir -p {FOLDER}; rm -f {FOLDER}/{name}.log; head -c 4M /dev/urandom > {vm.disk}")
    vm.start("-o", f"{FOLDER}/{name}.log", "--audit", "--stats", *options, verb="record")
    try:
        vm.serial.ready(LIMIT_S)
        vm.agent.ready(LIMIT_S)
        assert vm.agent.run(WORK, LIMIT_S).code == 0
        tb.out("h1", f"ping -q -c 20 -i 0.05 -W 5 {vm.address}")
        assert vm.serial.run("echo $((6 * 7))").output == "42\n"
        vm.serial.start("poweroff -f")
        assert vm.wait_code() == 0, vm.log()
    finally:
        vm.kill()
    return vm


@dataclass(frozen=True)
class Flip:
    """What became of a log in which one bit was changed."""

    seed: int
    kind: str  # Of input.
    what: str
    code: int
    where: int  # The changed record's exit,
    found: int | None  # and the one where it was found out.
    said: str
    seconds: float

    @property
    def is_found(self) -> bool:
        return self.code == DIVERGED and self.found is not None and self.found >= self.where


def flip(tb: Testbed, log: str, toml: str, seed: int, what: str = "any") -> Flip:
    out = f"{log}.{seed}"
    start = time.monotonic()
    script = (f"rm -f {out}; {FLIP_INPUT} {log} {out} {seed} {what} || exit 99; "
              f"timeout -s KILL {REPLAY_LIMIT_S} {FTVMM} replay {out} --config {toml}; code=$?; rm -f {out}; exit $code")  # fmt: skip
    done = tb.run("h1", "sh", "-c", script, check=False, timeout=2 * REPLAY_LIMIT_S)
    if done.returncode == 99:
        raise AssertionError(done.stderr)
    bit, changed = done.stdout.strip().split("\n")
    found = re.search(r"DIVERGED: .*?exit (\d+)", done.stderr, re.DOTALL)
    return Flip(seed, bit.split(" of: ")[1].split(" of ")[0].split(" ")[0], f"{bit}; {changed}", done.returncode,
                int(re.search(r"at exit (\d+)", changed)[1]), int(found[1]) if found else None, done.stderr,
                time.monotonic() - start)  # fmt: skip


def flips(tb: Testbed, options: argparse.Namespace) -> bool:
    use_bridge(tb, "h1")
    try:
        vm = record_small_guest(tb, "flips")
    finally:
        drop_bridge(tb, "h1")
    say(vm.log())
    first = options.first_seed if options.first_seed is not None else random.randrange(1 << 32)
    say(f"seeds {first} to {first + options.count - 1}")
    tries = []
    for i in range(options.count):
        tries.append(one := flip(tb, f"{FOLDER}/flips.log", f"{vm.folder}/vm.toml", first + i))
        distance = f"{one.found - one.where} exits behind it" if one.is_found else f"NOT FOUND, code {one.code}"
        say(f"{i + 1}/{options.count} seed {one.seed}: {one.what}: {distance} ({one.seconds:.1f} s)")
        if not one.is_found:
            say(one.said)
    table = Counter((one.kind, one.is_found) for one in tries)
    print(f"\n{'input':<12} {'tries':>6} {'found':>6}")
    for kind in sorted({one.kind for one in tries}):
        found, missed = table[kind, True], table[kind, False]
        print(f"{kind:<12} {found + missed:>6} {found:>6}")
    found = sum(one.is_found for one in tries)
    print(f"{'all':<12} {len(tries):>6} {found:>6}", flush=True)
    return found * 100 >= 99 * len(tries)


def small_toml(name: str) -> str:
    return f"""name = "{name}"
uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
memory = "128 MiB"
kernel = "{IMAGES}/quick/vmlinuz"
initrd = "{IMAGES}/quick/initrd.img"
cmdline = "console=ttyS0 quiet"
[console]
kind = "serial"
log = "{FOLDER}/{name}.console"
"""


def kill(tb: Testbed, host: str, toml: str, log: str, after_s: float) -> tuple[bool, str]:
    """Whether the log of a recorder that is killed then can be read, and is replayed to its end; what became of it.
    A batch that was just being written is torn, which is its end.  One that is killed early has no log yet."""
    words = shlex.join(["timeout", "-s", "KILL", f"{after_s:.3f}", FTVMM, "record", toml, "-o", log, "--headless"])
    done = tb.run(host, "sh", "-c", f"rm -f {log}; {words} > /dev/null 2>&1; test -e {log} || {{ echo none; exit 0; }}; "
                  f"timeout -s KILL {REPLAY_LIMIT_S} {FTVMM} replay {log}", check=False, timeout=2 * REPLAY_LIMIT_S)  # fmt: skip
    if done.stdout == "none\n":
        return True, "before it had a log"
    return done.returncode == CUT_OFF, f"code {done.returncode}: {done.stderr.strip().split(chr(10))[0]}"


def kills(tb: Testbed, options: argparse.Namespace) -> bool:
    tb.run(options.host, "sh", "-c", f"mkdir -p {FOLDER}; cat > {FOLDER}/kills.toml", stdin=small_toml("kills"))
    seed = options.first_seed if options.first_seed is not None else random.randrange(1 << 32)
    say(f"seed {seed}")
    moments = random.Random(seed)
    good = 0
    for i in range(options.count):
        after_s = moments.uniform(0.05, options.longest)
        is_good, what = kill(tb, options.host, f"{FOLDER}/kills.toml", f"{FOLDER}/kills.log", after_s)
        good += is_good
        say(f"{i + 1}/{options.count} killed after {after_s:.3f} s: {'good' if is_good else 'BAD'}, {what}")
    print(f"\n{good} of {options.count} logs were readable and replayed to their ends", flush=True)
    return good == options.count


# Some 3 minutes of an emulated guest: what installs packages, what computes, what forks, what syncs.
def workload(scale: float) -> dict[str, str]:
    megabytes = max(1, int(200 * scale))
    return {
        "packages": "set -e; mkdir -p /tmp/p/DEBIAN /tmp/p/opt/x; cp -r /usr/share/perl* /tmp/p/opt/x/ 2>/dev/null || "
                    "cp -r /etc /tmp/p/opt/x/; printf 'Package: x\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\n"
                    "Description: x\\n' > /tmp/p/DEBIAN/control; dpkg-deb -Zgzip -b /tmp/p /tmp/x.deb; dpkg -i /tmp/x.deb; "
                    "dpkg -V dpkg coreutils; dpkg -r x; apt-cache gencaches",
        "computes": f"head -c {megabytes}000000 /dev/urandom > /root/data; sha256sum /root/data; "
                    "gzip -1 -c /root/data | sha256sum; rm /root/data",
        "forks": f"i=0; while [ $i -lt {max(1, int(600 * scale))} ]; do i=$((i + 1)); /bin/true & done; wait; echo $i",
        "syncs": f"for i in $(seq {max(1, int(200 * scale))}); do echo \"insert into t values ($i, hex(randomblob(100)));\"; "
                 "done > /tmp/sql; sqlite3 /root/db 'create table t (a, b)'; sqlite3 /root/db < /tmp/sql; "
                 "sqlite3 /root/db 'select count(*) from t'; sync",
    }  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    toml: str
    log: str  # On the recording host and, in the shared folder, on the others.
    shared: str
    console: str  # sha256sum of what the serial console printed.


def record_workload(tb: Testbed, host: str, number: int, scale: float) -> Recorded:
    """A Debian from power-on to power-off."""
    name = f"workload{number}"
    vm = Vm(tb, host, name, f"{FOLDER}/{name}.img", address="10.77.1.62")
    shared = f"/srv/ftvmm/{name}"
    tb.out(host, f"mkdir -p {FOLDER}; rm -rf {shared} {FOLDER}/{name}.*; mkdir {shared}")
    vm.toml += f'[console]\nkind = "serial"\nlog = "{FOLDER}/{name}.console"\n'
    vm.copy_disk()
    start = time.monotonic()
    log = f"{FOLDER}/{name}.log"
    vm.boot("-o", log, "--memory", f"{FOLDER}/{name}.memory", "--stats", verb="record")
    say(f"recording {number}: login after {time.monotonic() - start:.0f} s")
    for what, script in workload(scale).items():
        since = time.monotonic()
        said = vm.out(script, 2 * LIMIT_S)
        say(f"recording {number}: {what} done in {time.monotonic() - since:.0f} s: {said.split(chr(10))[-1]}")
    with shared_folder() as folder:
        Path(folder, "data").write_bytes(random.randbytes(int(10_000_000 * scale)))
        with on_client(tb, "python3", "-m", "http.server", "8100", "--bind", "10.77.1.100", "--directory", folder):
            wait_until("the server listens", lambda: "8100" in tb.out("client", "ss -Hltn sport = 8100"))
            for _ in range(3):
                vm.out("curl -sSf http://10.77.1.100:8100/data | sha256sum")
    for _ in range(3):
        done = vm.ssh("uname -a; uptime")
        assert done.returncode == 0, done.stderr
    vm.agent.start("poweroff")
    assert vm.wait_code() == 0, vm.log()
    size = tb.out(host, f"stat -c %s {log}; rm {vm.disk}")
    say(f"recording {number}: powered off after {time.monotonic() - start:.0f} s, log of {int(size) >> 20} MiB\n{vm.log()}")
    tb.out(host, f"cp --sparse=always {log} {FOLDER}/{name}.memory {shared}/ && cp {vm.folder}/vm.toml {shared}/")
    return Recorded(f"{shared}/vm.toml", log, shared, tb.out(host, f"sha256sum < {FOLDER}/{name}.console"))


def replay_workload(tb: Testbed, host: str, recorded: Recorded, is_here: bool) -> tuple[bool, str]:
    log = recorded.log if is_here else f"{recorded.shared}/{Path(recorded.log).name}"
    memory = f"{log.removesuffix('.log')}.memory"
    printed, said = "/var/tmp/replayed.console", "/var/tmp/replayed.said"
    start = time.monotonic()
    code = int(tb.run(host, "sh", "-c", f"{FTVMM} replay {log} --config {recorded.toml} --memory {memory} --console --console-port serial "
                      f"> {printed} 2> {said}; echo $?", timeout=3600).stdout)  # fmt: skip
    is_same_console = tb.out(host, f"sha256sum < {printed}") == recorded.console
    text = tb.out(host, f"cat {said}")
    found = re.search(r"(\d+) exits, (\d+) checkpoints", text)
    memory_found = re.search(r"\d+ pages of memory differ.*", text)
    row = (f"{'agrees' if code == AGREES else f'CODE {code}'}, console {'same' if is_same_console else 'DIFFERS'}, "
           f"{found[1] if found else '?'} exits, {found[2] if found else '?'} checkpoints, "
           f"{memory_found[0] if memory_found else 'memory not compared'}; {time.monotonic() - start:.0f} s")  # fmt: skip
    is_good = code == AGREES and is_same_console
    if not is_good:
        say(text)
    return is_good, row


def workloads(tb: Testbed, options: argparse.Namespace) -> bool:
    here, there = options.host, "h1" if options.host == "h2" else "h2"
    rows = []
    for number in range(options.recordings):
        use_bridge(tb, here)
        try:
            recorded = record_workload(tb, here, number, options.scale)
        finally:
            drop_bridge(tb, here)
        for host in [here] * options.here + [there] * options.there:
            rows.append((number, host, *replay_workload(tb, host, recorded, host == here)))
            say(f"recording {number} replayed on {host}: {rows[-1][3]}")
        tb.out(here, f"rm -rf {recorded.shared} {FOLDER}/workload{number}.*")
    print(f"\n{'recorded':<10} {'replayed on':<22} result")
    for number, host, _, row in rows:
        print(f"{number:<10} {host + (' (recorded it)' if host == here else ''):<22} {row}")
    good = sum(row[2] for row in rows)
    print(f"{good} of {len(rows)} replays agree", flush=True)
    return good == len(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="record_campaign.py", description="Campaigns of record and replay.")
    verbs = parser.add_subparsers(required=True, metavar="CAMPAIGN")
    one = verbs.add_parser("flips", help="a bit of an input is changed: a replay finds it out")
    one.add_argument("--count", type=int, default=100, help="logs that are changed (100)")
    one.add_argument("--first-seed", type=int, help="of the first (random)")
    one.set_defaults(run=flips)
    one = verbs.add_parser("kills", help="a recorder is killed: its log is whole up to there")
    one.add_argument("--count", type=int, default=50, help="recorders that are killed (50)")
    one.add_argument("--longest", type=float, default=12, help="seconds that they run at most (12)")
    one.add_argument("--first-seed", type=int, help="of the moments (random)")
    one.add_argument("--host", choices=("h1", "h2"), default="h1", help="where (h1)")
    one.set_defaults(run=kills)
    one = verbs.add_parser("workload", help="a Debian from power-on over some minutes of work to power-off")
    one.add_argument("--recordings", type=int, default=5, help="how often it is recorded (5)")
    one.add_argument("--here", type=int, default=2, help="replays of each on the recording host (2)")
    one.add_argument("--there", type=int, default=1, help="replays of each on the other host (1)")
    one.add_argument("--host", choices=("h1", "h2"), default="h1", help="the recording host (h1)")
    one.add_argument("--scale", type=float, default=1, help="how much work it has (1: some 3 minutes)")
    one.set_defaults(run=workloads)
    options = parser.parse_args()
    tb = acquire("--hosts", "2")
    try:
        return 0 if options.run(tb, options) else 1
    finally:
        tb.release()


if __name__ == "__main__":
    sys.exit(main())
