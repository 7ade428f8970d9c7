#!/usr/bin/env python3
"""`ftvmm replay --debug-port`: a debugger steps a replay, stops it where it wants, and takes it back to who wrote what.

Needs root.  The guest is the small one of tests/guests/saved_machine.S: ports, string I/O, MMIO, MSRs, a clock, and three
rounds that each end with an interrupt and a write to WRITTEN.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire, wait_until  # noqa: E402
from vm import FTVMM  # noqa: E402

FOLDER = "/var/tmp/debug"
BUILD = Path(__file__).resolve().parents[2] / "build"
GUEST = "tests/guests/guests/saved_machine.elf"
ROUNDS = 3
WRITTEN = 0x402000
FSTL = bytes.fromhex("dd142500204000")  # fstl WRITTEN
RIP = 16  # GDB's number.

tb: Testbed


def setUpModule() -> None:
    global tb
    tb = acquire("--hosts", "1", "--no-nfs")
    unittest.addModuleCleanup(tb.release)
    tb.out("h1", f"rm -rf {FOLDER} && mkdir -p {FOLDER}")
    unittest.addModuleCleanup(tb.out, "h1", f"rm -rf {FOLDER}")
    tb.run("h1", "sh", "-c", f"cat > {FOLDER}/vm.toml", stdin=f"""name = "debugged"
uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
memory = "64 MiB"
kernel = "{Path(FTVMM).parent}/{GUEST}"
[console]
kind = "serial"
""")  # fmt: skip
    tb.run("h1", "timeout", "-s", "KILL", 60, FTVMM, "record", f"{FOLDER}/vm.toml", "-o", f"{FOLDER}/log", "--headless")


def symbol(name: str) -> int:
    preset = Path(FTVMM).parent.name
    table = subprocess.run(["nm", BUILD / preset / GUEST], capture_output=True, text=True, check=True).stdout
    return int(re.search(rf"^([0-9a-f]+) . {name}$", table, re.MULTILINE)[1], 16)


class Gdb:
    """What of GDB's side of its remote protocol the tests need."""

    def __init__(self) -> None:
        path = f"{FOLDER}/socket"
        self.replay = tb.spawn("h1", "timeout", "-s", "KILL", 200, FTVMM, "replay", f"{FOLDER}/log", "--debug-port", path)
        wait_until("the replay waits", lambda: tb.run("h1", "test", "-S", path, check=False).returncode == 0)
        self.pipe = tb.spawn("h1", "socat", "-", f"UNIX-CONNECT:{path}")
        self.ask("qSupported:swbreak+")
        self.ask("QStartNoAckMode")
        self.pipe.stdin.write("+")

    def ask(self, command: str) -> str:
        self.pipe.stdin.write(f"${command}#{sum(command.encode()) % 256:02x}")
        self.pipe.stdin.flush()
        text = ""
        while not re.search(r"#..$", text):
            byte = self.pipe.stdout.read(1)
            assert byte, self.replay.communicate()
            text += byte
        return text[text.index("$") + 1 : -3]

    def rip(self) -> int:
        return int.from_bytes(bytes.fromhex(self.ask(f"p{RIP:x}")), "little")

    def memory(self, address: int, count: int) -> bytes:
        return bytes.fromhex(self.ask(f"m{address:x},{count:x}"))

    def close(self) -> tuple[int, str]:
        """The replay's exit code, and what it said."""
        self.ask("D")
        self.pipe.communicate(timeout=30)
        said = self.replay.communicate(timeout=30)[1]
        return self.replay.returncode, said


class Debug(unittest.TestCase):
    def setUp(self) -> None:
        self.gdb = Gdb()
        self.addCleanup(self.gdb.pipe.kill)
        self.addCleanup(self.gdb.replay.kill)

    def left(self) -> None:
        code, said = self.gdb.close()
        self.assertEqual(code, 0, said)

    def test_a_guest_that_is_stepped_is_the_guest_that_was_recorded(self) -> None:
        # To the end of the first round: every way out of the guest, and the interrupt.
        start = time.monotonic()
        second = symbol("round")
        seen = []
        while len(seen) < 400 and seen.count(second) < 2:
            self.assertEqual(self.gdb.ask("s"), "T05thread:1;")
            seen.append(self.gdb.rip())
        print(f"{len(seen)} steps in {time.monotonic() - start:.1f} s", file=sys.stderr)
        self.assertEqual(seen.count(second), 2)
        self.assertEqual(seen.count(symbol("tick")), 1)
        # An instruction is at most 15 bytes long, and the guest jumps seldom.
        self.assertLess(sum(not 0 < b - a <= 15 for a, b in zip(seen, seen[1:])), 10)
        self.assertIn("replaylog:end", self.gdb.ask("c"))
        self.left()  # Exit code 0: what followed met all that the log holds.

    def test_it_stops_at_breakpoints_both_ways(self) -> None:
        tick = symbol("tick")
        self.assertEqual(self.gdb.ask(f"Z0,{tick:x},1"), "OK")
        clocks = []
        for _ in range(ROUNDS):
            self.assertEqual(self.gdb.ask("c"), "T05swbreak:;thread:1;")
            self.assertEqual(self.gdb.rip(), tick)
            clocks.append(self.gdb.ask("g"))
        self.assertEqual(self.gdb.ask("c"), "T05replaylog:end;thread:1;")
        for registers in reversed(clocks):
            self.assertEqual(self.gdb.ask("bc"), "T05swbreak:;thread:1;")
            self.assertEqual(self.gdb.ask("g"), registers)
        self.assertEqual(self.gdb.ask("bc"), "T05replaylog:begin;thread:1;")
        self.assertEqual(self.gdb.rip(), symbol("_start"))
        self.left()

    def test_a_step_back_undoes_a_step(self) -> None:
        # Over an OUT with a landmark in its middle, and an IN of a clock with two.
        self.gdb.ask(f"Z0,{symbol('round'):x},1")
        self.gdb.ask("c")
        passed = []
        for _ in range(8):
            passed.append(self.gdb.ask("g"))
            self.gdb.ask("s")
        for registers in reversed(passed):
            self.assertEqual(self.gdb.ask("bs"), "T05thread:1;")
            self.assertEqual(self.gdb.ask("g"), registers)
        self.left()

    def test_it_goes_back_to_each_instruction_that_wrote_a_variable(self) -> None:
        self.assertEqual(self.gdb.ask("c"), "T05replaylog:end;thread:1;")
        value = self.gdb.memory(WRITTEN, 8)
        self.assertNotEqual(value, bytes(8))
        self.assertEqual(self.gdb.ask(f"Z2,{WRITTEN:x},8"), "OK")
        for _ in range(ROUNDS):
            self.assertEqual(self.gdb.ask("bc"), f"T05watch:{WRITTEN:x};thread:1;")
            self.assertEqual(self.gdb.memory(self.gdb.rip(), len(FSTL)), FSTL)
            self.assertNotEqual(self.gdb.memory(WRITTEN, 8), value)
            value = self.gdb.memory(WRITTEN, 8)
        self.assertEqual(value, bytes(8))
        self.assertEqual(self.gdb.ask("bc"), "T05replaylog:begin;thread:1;")
        # Forwards it stops behind the write.
        self.assertEqual(self.gdb.ask("c"), f"T05watch:{WRITTEN:x};thread:1;")
        rip = self.gdb.rip()
        self.assertEqual(self.gdb.memory(rip - len(FSTL), len(FSTL)), FSTL)
        self.left()

    def test_nothing_of_a_replay_can_be_changed(self) -> None:
        for command in ("P0=0000000000000000", f"M{WRITTEN:x},1:00", "c100000"):
            self.assertTrue(self.gdb.ask(command).startswith("E"), command)
        self.left()


if __name__ == "__main__":
    unittest.main()
