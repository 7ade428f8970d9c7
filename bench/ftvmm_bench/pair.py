"""bench/pair: what a Secondary costs a VM that runs."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from agent import ConsoleAgent
from harness import Testbed, acquire
from pairing import Cluster, Half, drop, ft_section
from vm import FTVMM, KEY, LIMIT_S, Vm

DISK = "/srv/ftvmm/bench-pair.img"
PAGE_PORT, IPERF_PORT = 8080, 5201
# In the guest: a project whose files are alike, and a page of 10 KiB.
PREPARE = r"""
mkdir -p /root/project && cd /root/project
for i in $(seq 1 FILES); do
  { echo '#include <stdio.h>'; echo '#include <stdlib.h>'; echo '#include <string.h>'
    for j in $(seq 1 20); do
      echo "int f${i}_$j(const char *s, int n) { char b[64]; snprintf(b, sizeof b, \"%s %d\", s, n); return n > $j ? (int)strlen(b) : atoi(b); }"
    done; } > file$i.c
done
printf 'OBJECTS := $(patsubst %%.c,%%.o,$(wildcard *.c))\nall: $(OBJECTS)\n%%.o: %%.c\n\tgcc -O2 -c -o $@ $<\n' > Makefile
mkdir -p /root/page && head -c 7680 /dev/urandom | base64 -w 0 > /root/page/page
cat > /root/page.py <<'END'
import functools, http.server, socket
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().server_bind()
Server(("", 8080), functools.partial(Handler, directory="/root/page")).serve_forever()
END
systemd-run -q --unit=page python3 /root/page.py
systemd-run -q --unit=iperf iperf3 -s
sync
"""
COMPILE = "cd /root/project && rm -f *.o && sync && time -p make -s"
INSERTS = """rm -f /root/t.db; cat > /tmp/insert.py <<'END'
import sqlite3, time
db = sqlite3.connect("/root/t.db", isolation_level=None)
db.execute("pragma synchronous = full")
db.execute("create table t (n integer primary key, text)")
begun = time.monotonic()
for i in range(INSERTS):
    db.execute("insert into t (text) values (?)", ("x" * 100,))
print("real", time.monotonic() - begun)
END
python3 /tmp/insert.py"""
# On the client: 16 connections, each of which asks again as soon as it was answered.
ASK = """
import http.client, sys, threading, time
def ask():
    connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=120)
    for _ in range(int(sys.argv[3]) // 16):
        connection.request("GET", "/page")
        assert len(connection.getresponse().read()) == 10240
threads = [threading.Thread(target=ask) for _ in range(16)]
begun = time.monotonic()
for thread in threads: thread.start()
for thread in threads: thread.join()
print("real", time.monotonic() - begun)
"""


@dataclass(frozen=True)
class Workload:
    name: str
    target: float | None  # of the throughput alone
    paper: str  # Ratio and Mbit/s of log in Scales, Nelson, Venkitachalam (2010).


WORKLOADS = (
    Workload("compile", 0.95, "kernel compile: 0.95, 3.0"),
    Workload("inserts", None, "DVD Store: 0.94, 18"),
    Workload("http", 0.9, ""),
    Workload("to the guest", None, "netperf, 1 Gbit/s: 0.64, 730"),
    Workload("from the guest", None, "netperf, 1 Gbit/s: 0.91, 42"),
)


class Bench:
    def __init__(self, tb: Testbed, options: argparse.Namespace) -> None:
        self.tb, self.options = tb, options
        self.cluster = Cluster(tb, "h1", "h2")
        self.cluster.new_vm()
        self.vm = Vm(tb, "h1", "bench", DISK)
        toml = self.vm.toml + ft_section(1000, 10)
        self.primary, self.secondary = Half(self.cluster, "h1", toml), Half(self.cluster, "h2", toml)

    def start(self) -> None:
        self.vm.copy_disk()
        self.primary.run()
        console = self.primary.console()
        try:
            ConsoleAgent((console.stdout.fileno(), console.stdin.fileno())).wait_for("guest login: ", LIMIT_S)
        finally:
            drop(console)
        self.ssh(PREPARE.replace("FILES", str(self.options.files)))

    def end(self) -> None:
        for half in (self.primary, self.secondary):
            half.kill()
        self.tb.out("h1", f"rm -f {DISK}")
        self.cluster.drop()

    def ssh(self, script: str) -> str:
        done = self.tb.run("client", "ssh", "-i", KEY, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                           "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", f"root@{self.vm.address}", "sh -s",
                           check=False, stdin=script)  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"bench/pair: in the guest: {done.stderr[-2000:]}")
        return done.stdout + done.stderr

    def status(self) -> dict:
        return json.loads(self.tb.out("h1", f"{FTVMM} status bench --json"))

    def set_protected(self, wanted: bool) -> None:
        if wanted == (self.status()["protection"] == "protected"):
            return
        self.secondary.follow() if wanted else self.secondary.kill()
        deadline = time.monotonic() + LIMIT_S
        while (self.status()["protection"] == "protected") != wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench/pair: the VM is not {'protected' if wanted else 'alone'}: {self.primary.log()}")
            time.sleep(0.5)
        time.sleep(2)

    def rate(self, work: Workload) -> float:
        """Of the work, in what it does a second."""
        options = self.options
        if work.name == "compile":
            return options.files / seconds_of(self.ssh(COMPILE))
        if work.name == "inserts":
            return options.inserts / seconds_of(self.ssh(INSERTS.replace("INSERTS", str(options.inserts))))
        if work.name == "http":
            return options.requests / seconds_of(
                self.client("python3", "-c", ASK, self.vm.address, PAGE_PORT, options.requests))  # fmt: skip
        back = ["-R"] if work.name == "from the guest" else []
        found = self.client("iperf3", "-J", "-c", self.vm.address, "-p", IPERF_PORT, "-t", options.seconds, *back)
        return json.loads(found)["end"]["sum_received"]["bits_per_second"] / 1e6

    def client(self, *words: object) -> str:
        done: subprocess.CompletedProcess[str] = self.tb.run("client", *words, timeout=3 * LIMIT_S)
        return done.stdout

    def measure(self, work: Workload, protected: bool) -> dict:
        self.set_protected(protected)
        before, begun = self.status(), time.monotonic()
        found = {"workload": work.name, "protected": protected, "rate": self.rate(work), "load": os.getloadavg()[0]}
        if protected:
            after = self.status()
            took = time.monotonic() - begun
            if after["protection"] != "protected":
                raise SystemExit(f"bench/pair: the Secondary was lost: {self.primary.log()[-3000:]}")
            found["log_mbit_s"] = 8e-6 * (after["log"]["bytes"] - before["log"]["bytes"]) / took
            found["hold_ms"] = after["hold"]["mean_ms"]
        print(f"{time.strftime('%H:%M:%S')} {work.name}, {'protected' if protected else 'alone'}: {found['rate']:.2f}/s, "
              f"load {found['load']:.1f}", file=sys.stderr, flush=True)  # fmt: skip
        return found


def seconds_of(text: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("real "))


def table(found: list[dict]) -> tuple[str, bool]:
    """Medians, and the ratio of neighbours, whose load was alike.  And whether no target was missed."""
    lines = ["| workload | alone, a second | protected | ratio | target | log Mbit/s | the paper's |", "|" + " --- |" * 7]
    met = True
    for work in WORKLOADS:
        runs = [run for run in found if run["workload"] == work.name]
        if not runs:
            continue
        alone = [run for run in runs if not run["protected"]]
        pairs = [run for run in runs if run["protected"]]
        ratio = statistics.median(ft["rate"] / one["rate"] for one, ft in zip(alone, pairs))
        is_met = work.target is None or ratio >= work.target
        met = met and is_met
        cells = (work.name, f"{statistics.median(run['rate'] for run in alone):.2f}",
                 f"{statistics.median(run['rate'] for run in pairs):.2f}", f"{ratio:.2f}{'' if is_met else ' (missed)'}",
                 "" if work.target is None else f"{work.target:.2f}",
                 f"{statistics.median(run['log_mbit_s'] for run in pairs):.2f}", work.paper)  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n", met


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench/pair", description="What a Secondary costs a VM, on two testbed hosts. See docs/benchmarks.md."
    )
    parser.add_argument("--pairs", type=int, default=5, help="runs of each kind (5)")
    parser.add_argument("--only", choices=[work.name for work in WORKLOADS], action="append", help="this one; may be repeated")
    parser.add_argument("--files", type=int, default=200, help="to compile (200)")
    parser.add_argument("--inserts", type=int, default=500, help="into the database (500)")
    parser.add_argument("--requests", type=int, default=1600, help="of pages (1600)")
    parser.add_argument("--seconds", type=int, default=20, help="of iperf3 (20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all that was found")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    options = parser.parse_args()
    chosen = [work for work in WORKLOADS if work.name in (options.only or [w.name for w in WORKLOADS])]
    tb = acquire("--hosts", "2")
    found: list[dict] = []
    bench = Bench(tb, options)
    try:
        bench.start()
        # All of one kind behind each other: the VM goes over but once for them.
        for pair in range(options.pairs):
            for protected in (False, True) if pair % 2 == 0 else (True, False):
                found += [bench.measure(work, protected) for work in chosen]
    finally:
        bench.end()
        tb.release()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    text, met = table(found)
    print(text, end="")
    return 1 if options.check and not met else 0
