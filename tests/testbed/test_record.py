#!/usr/bin/env python3
"""`ftvmm record` and `ftvmm replay`: what was recorded is replayed bit for bit, here and on another host; what is not
the same run is found out; a log that was cut off goes as far as it goes.

Needs root and the images.  The guest is the small one: its boot alone computes for tenths of a second without an exit.
"""

from __future__ import annotations

import base64
import random
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire  # noqa: E402
from vm import FTVMM, IMAGES, LIMIT_S, Vm, measured  # noqa: E402

FOLDER = "/var/tmp/record"
SHARED = "/srv/ftvmm/record"
WORK = ("for i in 1 2 3 4 5 6; do (head -c 3000 /dev/urandom | sha256sum; echo $i) & done; wait; "
        "dd if=/dev/zero bs=64k count=40 2>/dev/null | gzip -c | wc -c; cat /proc/sys/kernel/random/uuid; date")  # fmt: skip
READ_TSC = Path(__file__).resolve().parents[2] / "build" / Path(FTVMM).parent.name / "read_tsc"
FLIP_INPUT = str(Path(FTVMM).with_name("flip_input"))
AGREES, CUT_OFF, DIVERGED = 0, 3, 5
SUMMARY = re.compile(r"(\d+) records, (\d+) exits, (\d+) checkpoints, .* digest ([0-9a-f]{16})")

tb: Testbed


def setUpModule() -> None:
    global tb
    tb = acquire("--hosts", "2")
    unittest.addModuleCleanup(tb.release)
    for host, folder in (("h1", FOLDER), ("h1", SHARED), ("h2", FOLDER)):
        tb.out(host, f"rm -rf {folder} && mkdir -p {folder}")
        unittest.addModuleCleanup(tb.out, host, f"rm -rf {folder}")
    for host in ("h1", "h2"):
        write_toml(host, "vm")
    vm = Vm(tb, "h1", "recorded")
    unittest.addModuleCleanup(vm.kill)
    vm.toml = toml("vm")
    vm.start("-o", f"{FOLDER}/log", "--audit", "--stats", verb="record")
    vm.serial.ready(LIMIT_S)
    assert vm.serial.run("echo $((6 * 7))").output == "42\n"
    vm.serial.run(WORK, LIMIT_S)
    vm.serial.start("poweroff -f")
    assert vm.wait_code() == 0, vm.log()
    measured(vm.log())


def toml(name: str, cmdline: str = "") -> str:
    return f"""name = "recorded"
uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
memory = "128 MiB"
kernel = "{IMAGES}/quick/vmlinuz"
initrd = "{IMAGES}/quick/initrd.img"
cmdline = "console=ttyS0 quiet {cmdline}"
[console]
kind = "serial"
log = "{FOLDER}/{name}.console"
"""


def write_toml(host: str, name: str, cmdline: str = "") -> None:
    tb.run(host, "sh", "-c", f"cat > {FOLDER}/{name}.toml", stdin=toml(name, cmdline))


def replay(host: str, log: str, *options: str) -> subprocess.CompletedProcess[str]:
    return tb.run(host, "timeout", "-s", "KILL", 120, FTVMM, "replay", log, *options, check=False)


def summary(done: subprocess.CompletedProcess[str]) -> tuple[str, ...]:
    found = SUMMARY.search(done.stderr)
    assert found, done.stderr
    return found.groups()


class Agrees(unittest.TestCase):
    def test_a_replay_is_the_same_run_to_its_end_with_the_same_console(self) -> None:
        printed = tb.out("h1", f"sha256sum < {FOLDER}/vm.console")
        start = time.monotonic()
        first = replay("h1", f"{FOLDER}/log", "--hash-memory")
        self.assertEqual(first.returncode, AGREES, first.stderr)
        measured(f"replayed in {time.monotonic() - start:.1f} s: {first.stderr}")
        second = replay("h1", f"{FOLDER}/log", "--hash-memory")
        self.assertEqual((second.returncode, summary(second)), (AGREES, summary(first)))
        self.assertGreater(int(summary(first)[2]), 0, "no checkpoint was needed")
        # Without a C library that reads the counter, nothing is left over in memory either.
        self.assertEqual(first.stderr.split("memory hash ")[1], second.stderr.split("memory hash ")[1])
        again = tb.out("h1", f"{FTVMM} replay {FOLDER}/log --console 2>/dev/null | sha256sum")
        self.assertEqual(again, printed)

    def test_another_host_replays_it_too(self) -> None:
        tb.out("h1", f"cp {FOLDER}/log {SHARED}/log")
        here, there = replay("h1", f"{FOLDER}/log"), replay("h2", f"{SHARED}/log", "--config", f"{FOLDER}/vm.toml")
        self.assertEqual((there.returncode, summary(there)), (AGREES, summary(here)), there.stderr)

    def test_it_stops_where_it_is_asked_to(self) -> None:
        done = replay("h1", f"{FOLDER}/log", "--until", "0.5s")
        self.assertEqual(done.returncode, AGREES, done.stderr)
        self.assertIn("so far", done.stderr)


class FoundOut(unittest.TestCase):
    def test_an_input_with_one_bit_changed_is_divergence_and_says_where(self) -> None:
        # Of what was typed, and of any: the next exit is another one, whether the guest looks at it or not.
        # campaign/record/flips tries a hundred.
        seed = random.randrange(1 << 32)
        measured(f"seed {seed}")
        for kind in ("typed", "any"):
            what = tb.out("h1", f"rm -f {FOLDER}/flipped; {FLIP_INPUT} {FOLDER}/log {FOLDER}/flipped {seed} {kind}")
            done = replay("h1", f"{FOLDER}/flipped")
            self.assertEqual(done.returncode, DIVERGED, what + done.stderr)
            self.assertRegex(done.stderr, r"DIVERGED: .*exit \d+")
            self.assertRegex(done.stderr, r"the first difference (is|lies behind) exit \d+")
            self.assertRegex(done.stderr, r"(?m)^> +\d+  exit \d+")
            self.assertRegex(done.stderr, r" rip [0-9a-f]{16} ")
            self.assertRegex(done.stderr, r"(?m)^> [0-9a-f]{16}  ([0-9a-f]{2} )+ +[a-z]+")
            found, changed = re.search(r"DIVERGED: .*? exit (\d+)", done.stderr), re.search(r"at exit (\d+)", what)
            self.assertGreaterEqual(int(found[1]), int(changed[1]))

    def test_another_command_line_or_kernel_is_refused_and_named(self) -> None:
        write_toml("h1", "other", "nosuchword")
        done = replay("h1", f"{FOLDER}/log", "--config", f"{FOLDER}/other.toml")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("command line", done.stderr)

    def test_a_damaged_log_is_replayed_as_far_as_it_is_whole(self) -> None:
        size = int(tb.out("h1", f"stat -c %s {FOLDER}/log"))
        tb.out("h1", f"cp {FOLDER}/log {FOLDER}/damaged; printf '\\377\\377\\377\\377' | "
                     f"dd of={FOLDER}/damaged bs=1 seek={size // 2} conv=notrunc 2>/dev/null")  # fmt: skip
        done = replay("h1", f"{FOLDER}/damaged")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"byte \d+")


class Traced(unittest.TestCase):
    def test_a_traced_log_agrees_and_names_the_exit_that_differs_with_both_processors(self) -> None:
        write_toml("h1", "traced")
        vm = Vm(tb, "h1", "traced")
        self.addCleanup(vm.kill)
        vm.toml = toml("traced")
        vm.start("-o", f"{FOLDER}/traced", "--trace", verb="record")
        vm.serial.ready(LIMIT_S)
        vm.serial.start("poweroff -f")
        self.assertEqual(vm.wait_code(), 0, vm.log())
        agrees = replay("h1", f"{FOLDER}/traced")
        self.assertEqual(agrees.returncode, AGREES, agrees.stderr)

        tb.out("h1", f"rm -f {FOLDER}/flipped; {FLIP_INPUT} {FOLDER}/traced {FOLDER}/flipped 1 typed")
        done = replay("h1", f"{FOLDER}/flipped", "--report", f"{FOLDER}/report")
        self.assertEqual(done.returncode, DIVERGED, done.stderr)
        self.assertRegex(done.stderr, r"the first difference is exit \d+")
        self.assertRegex(done.stderr, r"the processor at exit \d+.*\n +recorded +replayed\n")
        self.assertRegex(done.stderr, r"(?m)^[ *] +rip  [0-9a-f]{16} +[0-9a-f]{16}$")
        report = tb.out("h1", f"cat {FOLDER}/report")
        self.assertIn(report.strip(), done.stderr)
        self.assertEqual(tb.out("h1", f"stat -c %a {FOLDER}/report").strip(), "600")


class TimeStampCounter(unittest.TestCase):
    """A program reads the processor's counter, which no log holds and no host can have stand still.  A checkpoint brings
    what the program has of it at that moment, in registers or memory, so one reading may come out as it was."""

    def record(self, name: str, command: str, *options: str) -> None:
        write_toml("h1", name)
        vm = Vm(tb, "h1", name)
        self.addCleanup(vm.kill)
        vm.toml = toml(name)
        vm.start("-o", f"{FOLDER}/{name}", *options, verb="record")
        vm.serial.ready(LIMIT_S)
        program = base64.b64encode(READ_TSC.read_bytes()).decode()
        done = vm.serial.run(f"printf %s {program} | base64 -d > /tmp/read && chmod +x /tmp/read && {command}", LIMIT_S)
        self.assertEqual(done.code, 0, done.output)
        measured(f"{command}: {done.output}")
        vm.serial.start("poweroff -f")
        self.assertEqual(vm.wait_code(), 0, vm.log())

    def test_what_it_prints_of_it_is_divergence(self) -> None:
        self.record("prints", "for i in 1 2 3 4 5 6 7 8 9 10; do /tmp/read; done")
        done = replay("h1", f"{FOLDER}/prints")
        self.assertEqual(done.returncode, DIVERGED, done.stderr)
        self.assertRegex(done.stderr, r"DIVERGED: .*exit \d+")

    def test_what_it_keeps_of_it_is_told_apart_from_divergence(self) -> None:
        self.record("keeps", "/tmp/read raw > /tmp/kept", "--memory", f"{FOLDER}/memory")
        done = replay("h1", f"{FOLDER}/keeps", "--memory", f"{FOLDER}/memory")
        found = re.search(r"(\d+) words of the time stamp counter, (\d+) others", done.stderr)
        self.assertTrue(found, done.stderr)
        measured(found[0])
        self.assertEqual((done.returncode, int(found[2])), (AGREES, 0), done.stderr)
        # Somewhere in the kernel, which uses little of its first page: a byte of neither run's counter.
        tb.out("h1", f"printf '\\377' | dd of={FOLDER}/memory bs=1 seek=$((0x2000123)) conv=notrunc 2>/dev/null")
        other = replay("h1", f"{FOLDER}/keeps", "--memory", f"{FOLDER}/memory")
        self.assertEqual(other.returncode, DIVERGED, other.stderr)
        self.assertIn("byte 0x2000120: recorded", other.stderr)


class CutOff(unittest.TestCase):
    def test_the_log_of_a_recorder_that_was_killed_replays_to_its_last_batch(self) -> None:
        for seconds in (2.0, 4.5):
            log = f"{FOLDER}/killed"
            tb.out("h1", f"rm -f {log}")
            tb.run("h1", "timeout", "-s", "KILL", seconds, FTVMM, "record", f"{FOLDER}/vm.toml", "-o", log, "--headless",
                   check=False)  # fmt: skip
            done = replay("h1", log)
            self.assertEqual(done.returncode, CUT_OFF, done.stderr)
            measured(f"killed after {seconds} s: {done.stderr}")

    def test_a_recorder_whose_disk_is_full_ends_the_guest_and_says_so(self) -> None:
        small = f"{FOLDER}/small"
        tb.out("h1", f"mkdir -p {small} && mount -t tmpfs -o size=1m tmpfs {small}")
        self.addCleanup(tb.out, "h1", f"umount {small}")
        done = tb.run("h1", "timeout", "-s", "KILL", 120, FTVMM, "record", f"{FOLDER}/vm.toml", "-o", f"{small}/log",
                      "--headless", check=False)  # fmt: skip
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"(?i)no space left")
        self.assertIn(replay("h1", f"{small}/log").returncode, (CUT_OFF, AGREES))

    def test_a_log_is_never_written_over_a_file(self) -> None:
        before = tb.out("h1", f"sha256sum {FOLDER}/log")
        done = tb.run("h1", FTVMM, "record", f"{FOLDER}/vm.toml", "-o", f"{FOLDER}/log", "--headless", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"{FOLDER}/log", done.stderr)
        self.assertEqual(tb.out("h1", f"sha256sum {FOLDER}/log"), before)


if __name__ == "__main__":
    unittest.main()
