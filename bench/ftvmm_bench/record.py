"""bench/record: what recording costs, and how long a replay takes."""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ftvmm_bench.host import IMAGES, ROOT
from harness import Testbed, acquire

HOST, WORK = "h1", "/var/tmp/ftvmm-record"
BEGIN, END = "bench-begins", "bench-ends"
LIMIT_S = 300
COMPUTE = "awk 'BEGIN { for (i = 0; i < {n}; i++) x = (x * 69069 + i) % 4294967296; print x }'"
MIXED = """i=0; while [ $i -lt {n} ]; do i=$((i + 1))
  (head -c 2000 /dev/urandom | sha256sum; echo $i | sed s/1/2/ | tr 2 3) > /dev/null
  [ $((i % 10)) != 0 ] || dd if=/dev/zero bs=64k count=8 2>/dev/null | gzip -c | wc -c
done"""


@dataclass(frozen=True)
class Workload:
    name: str
    target: float  # of the recorded wall time to the plain one
    image: str
    script: str = ""
    begin: str = BEGIN
    end: str = END

    def toml(self) -> str:
        words, disk = "console=ttyS0 quiet", ""
        if self.script:
            # Quoted, so that the kernel's echo of its command line is not taken for the mark.
            script = f"echo bench-'begins'; {self.script}; echo bench-'ends'; poweroff -f"
            words += f" ftvmm.run={base64.b64encode(script.encode()).decode()}"
        else:
            words += " root=/dev/vda ro"
            disk = f'[[disk]]\npath = "{WORK}/disk"\n'
        return (f'name = "bench"\nuuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"\nmemory = "256 MiB"\n'
                f'kernel = "/build/guest-images/{self.image}/vmlinuz"\n'
                f'initrd = "/build/guest-images/{self.image}/initrd.img"\n'
                f'cmdline = "{words}"\n[console]\nkind = "serial"\n{disk}')  # fmt: skip


def workloads(scale: float) -> dict[str, Workload]:
    return {w.name: w for w in (
        Workload("compute", 1.10, "quick", COMPUTE.replace("{n}", str(int(800_000 * scale)))),
        Workload("mixed", 1.15, "quick", MIXED.replace("{n}", str(int(60 * scale)))),
        Workload("idle", 1.05, "quick", f"sleep {int(10 * scale)}"),
        Workload("boot", 1.15, "cloud", begin="", end="guest login: "),
    )}  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/record", description="What `ftvmm record` costs, in a testbed host. See docs/benchmarks.md."
    )
    parser.add_argument("--pairs", type=int, default=5, help="runs of each kind (5)")
    parser.add_argument("--only", choices=workloads(1), action="append", help="this workload alone; may be repeated")
    parser.add_argument("--scale", type=float, default=1, help="how long a workload is (1: some 10 s)")
    parser.add_argument("--preset", default="release", help="the build of ftvmm (release)")
    parser.add_argument("--against", metavar="PRESET", help="also record with this build, to compare")
    parser.add_argument("--no-replay", action="store_true", help="nothing is replayed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all that was found")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    return parser.parse_args()


def _cpu_s(pid: int) -> float:
    """Of a process of this machine so far.  Of the host's, it is what the host has done while this machine let it run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, testbed: Testbed, options: argparse.Namespace) -> None:
        self._testbed = testbed
        self._options = options
        testbed.out(HOST, f"mkdir -p {WORK}")
        self._host_pid = testbed.status()["machines"][HOST]["pid"]
        testbed.verb("push", HOST, ROOT / "bench" / "on_host" / "timed.py", f"{WORK}/")

    def _timed(self, begin: str, end: str, *words: object) -> dict:
        process = self._testbed.spawn(HOST, "timeout", "-k", 5, 2 * LIMIT_S, "python3", f"{WORK}/timed.py", begin, end,
                                      LIMIT_S, f"{WORK}/log", *words)  # fmt: skip
        cpu = []
        for line in process.stdout:
            if line == "mark\n":
                cpu.append(_cpu_s(self._host_pid))
            else:
                found = json.loads(line)
        process.wait(10)
        if len(cpu) == 2:
            found["cpu_s"] = cpu[1] - cpu[0]
        return found

    def _run(self, work: Workload, preset: str, kind: str) -> dict:
        """One run.  What a replay agreed to is its exit code; a recorded guest's log is summed up."""
        program, toml, log = f"/build/{preset}/ftvmm", f"{WORK}/{work.name}.toml", f"{WORK}/log"
        self._testbed.run(HOST, "sh", "-c", f"cat > {toml}", stdin=work.toml())
        if kind == "replay":
            found = self._timed(work.begin, work.end, program, "replay", log, "--console")
        elif kind == "record":
            self._testbed.out(HOST, f"rm -f {log}")
            # A Debian guest's memory holds what its C library has read of the time stamp counter.
            audit = ["--audit"] if work.script else []
            found = self._timed(work.begin, work.end, program, "record", toml, "-o", log, "--stats", *audit)
            found["log"] = json.loads(self._testbed.out(HOST, f"{program} log stat --json {log} || true"))
        else:
            found = self._timed(work.begin, work.end, program, "run", toml, "--stats")
        found |= {"workload": work.name, "preset": preset, "kind": kind, "load": os.getloadavg()[0]}
        if "wall_s" not in found:
            raise SystemExit(f"bench/record: {work.name}, {kind}: {found['code']}: {found['said'][-3000:]}")
        print(f"{time.strftime('%H:%M:%S')} {work.name} {preset} {kind}: {found['wall_s']:.2f} s, CPU "
              f"{found['cpu_s']:.2f} s, code {found['code']}, load {found['load']:.1f}", file=sys.stderr, flush=True)  # fmt: skip
        return found

    def measure(self, work: Workload) -> list[dict]:
        options = self._options
        if work.image == "cloud":
            self._testbed.out(HOST, f"cp --sparse=always /build/guest-images/cloud/disk.img {WORK}/disk")
        kinds = [(options.preset, "run"), (options.preset, "record")]
        if options.against:
            kinds.append((options.against, "record"))
        found = []
        for pair in range(options.pairs):
            for preset, kind in kinds if pair % 2 == 0 else reversed(kinds):
                found.append(self._run(work, preset, kind))
                if kind == "record" and preset == options.preset and not options.no_replay:
                    found.append(self._run(work, preset, "replay"))
        return found


def _median(runs: list[dict], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _ratio(records: list[dict], plain: list[dict], key: str) -> float:
    """Of neighbours, whose load was alike."""
    return statistics.median(r[key] / p[key] for r, p in zip(records, plain))


def summarize(work: Workload, runs: list[dict], preset: str) -> tuple[str, bool]:
    """A workload's lines, and whether its target was met."""
    def of(kind: str) -> list[dict]:
        return [r for r in runs if r["kind"] == kind and (kind == "run" or r["preset"] == preset)]

    plain, records, replays = of("run"), of("record"), of("replay")
    ratio = _ratio(records, plain, "wall_s")
    text = (f"{work.name} ({preset}): plain {_median(plain, 'wall_s'):.2f} s, recorded {_median(records, 'wall_s'):.2f} s, "
            f"ratio {ratio:.2f} (wanted <= {work.target}), of CPU time {_ratio(records, plain, 'cpu_s'):.2f}\n")  # fmt: skip
    if replays:
        agreed = sum(r["code"] in (0, 3) for r in replays)
        text += f"  replayed in {_median(replays, 'wall_s'):.2f} s, {agreed} of {len(replays)} agree\n"
    last = sorted(records, key=lambda run: run["wall_s"])[len(records) // 2]
    unpacked = last["log"]["payload_bytes"] / last["log"]["file_bytes"]
    text += (f"  log {last['log_bytes'] / last['wall_s'] / 1024:.1f} KiB/s in the file, {unpacked:.1f} times that unpacked; "
             f"{last['log']['file_bytes'] / 2**20:.1f} MiB with the guest's start and end\n")  # fmt: skip
    said = [line for line in last["said"].splitlines() if re.match(r"(checkpoint|settles|late |waits|ftvmm: the log is)", line)]
    return text + "".join(f"  {line}\n" for line in said), ratio <= work.target


def main() -> int:
    options = _arguments()
    for preset in filter(None, (options.preset, options.against)):
        if not (ROOT / "build" / preset / "ftvmm").exists():
            print(f"bench/record: build/{preset}/ftvmm is missing", file=sys.stderr)
            return 2
    for image in ("quick", "cloud"):
        if not (IMAGES / image).exists():
            print(f"bench/record: guest image {image} is missing; tests/guest-image/build all", file=sys.stderr)
            return 2
    chosen = [w for name, w in workloads(options.scale).items() if name in (options.only or workloads(1))]
    testbed = acquire("--hosts", "1", "--no-nfs")
    found: list[dict] = []
    try:
        bench = Bench(testbed, options)
        for work in chosen:
            found += bench.measure(work)
    finally:
        testbed.release()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    all_met = True
    for work in chosen:
        runs = [run for run in found if run["workload"] == work.name]
        for preset in dict.fromkeys(filter(None, (options.preset, options.against))):
            text, met = summarize(work, runs, preset)
            print(text, end="")
            all_met = all_met and (met or preset != options.preset)
    return 1 if options.check and not all_met else 0
