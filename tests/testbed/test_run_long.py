#!/usr/bin/env python3
"""`ftvmm run` for longer: a busy guest's clock, a move to another host, and Debian's generic kernel.

Needs root and the images; the move needs two hosts and shared storage.
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
from vm import LIMIT_S, Vm, drop_bridge, measured, on_client, shared_folder, use_bridge  # noqa: E402

CLOCK_BOUND_S = 0.050
STREAM_PORT = 7003

tb: Testbed


def setUpModule() -> None:
    global tb
    tb = acquire("--hosts", "2")
    unittest.addModuleCleanup(tb.release)
    use_bridge(tb, "h1", "h2")
    unittest.addModuleCleanup(drop_bridge, tb, "h1", "h2")


class BusyClock(unittest.TestCase):
    def test_a_minute_of_computing_moves_the_clock_by_less_than_50_ms(self) -> None:
        vm = Vm(tb, "h1", "busy", "/var/tmp/busy.img", address="10.77.1.51")
        self.addCleanup(tb.out, "h1", f"rm -f {vm.disk}")
        self.addCleanup(vm.kill)
        vm.copy_disk()
        vm.boot()
        vm.serve_clock()
        start, start_error = vm.clock_offset()
        vm.out("head -c 8000000 /dev/urandom > /tmp/data; rm -f /tmp/rounds; "
               "timeout 75 sh -c 'while gzip -c /tmp/data > /tmp/data.gz; do echo >> /tmp/rounds; done' "
               "> /dev/null 2>&1 &")  # fmt: skip
        time.sleep(60)
        offset, error = vm.clock_offset(100)
        rounds = vm.out("wc -l < /tmp/rounds; pgrep -c gzip")
        measured(f"guest clock ahead by {start * 1e3:.1f} ms (+- {start_error * 1e3:.1f}) at first, "
                 f"{offset * 1e3:.1f} ms (+- {error * 1e3:.1f}) after a busy minute; rounds {rounds.split()[0]}")  # fmt: skip
        self.assertEqual(rounds.split()[1], "1", "the guest was not busy")
        self.assertLess(abs(offset), CLOCK_BOUND_S)


class Moves(unittest.TestCase):
    def test_a_saved_guest_goes_on_at_another_host(self) -> None:
        name, disk, state = "moved", "/srv/ftvmm/moved.img", "/srv/ftvmm/moved.state"
        self.addCleanup(tb.out, "h1", f"rm -f {disk} {state}")
        vm = Vm(tb, "h1", name, disk, address="10.77.1.52")
        self.addCleanup(vm.kill)
        vm.copy_disk()
        vm.boot("--save", state)
        boot_id = vm.out("cat /proc/sys/kernel/random/boot_id")
        # A shell with an open file, and a server that says one number after the other and wants each back.
        vm.out("(exec 3>> /root/numbers; i=0; while :; do echo $i >&3; i=$((i + 1)); sleep 0.2; done) "
               "> /dev/null 2>&1 & echo $! > /run/shell")  # fmt: skip
        vm.serve(STREAM_PORT, "f = c.makefile('r')\ni = 0\nwhile True:\n c.sendall(b'%d\\n' % i)\n"
                              " assert f.readline() == f'{i}\\n'\n i += 1\n time.sleep(0.2)")  # fmt: skip
        with shared_folder() as folder, on_client(tb, "python3", "-u", "-c", f"""
import socket
s = socket.create_connection(("{vm.address}", {STREAM_PORT}))
for line in s.makefile("r"):
    s.sendall(line.encode())
    print(line, end="", file=open("{folder}/seen", "a"))
"""):  # fmt: skip
            seen = Path(folder, "seen")
            wait_until("the connection works", lambda: seen.exists() and seen.read_text().count("\n") > 10, 60)
            vm.signal("USR2")
            self.assertEqual(vm.wait_code(), 0, vm.log())
            saved = re.search(r"saved to .* at (exit \d+, digest [0-9a-f]{16})", vm.log())
            self.assertTrue(saved, vm.log())
            count = seen.read_text().count("\n")

            vm.host = "h2"
            vm.start("--restore", state)
            self.addCleanup(vm.kill)
            # Its consoles listen before the memory has been read.
            wait_until("the state is restored", lambda: "restored from" in vm.log(), LIMIT_S)
            restored = re.search(r"restored from .* at (exit \d+, digest [0-9a-f]{16})", vm.log())
            self.assertTrue(restored, vm.log())
            self.assertEqual(restored[1], saved[1])
            vm.agent.ready(LIMIT_S)
            wait_until("the connection goes on", lambda: seen.read_text().count("\n") > count + 20, 120)
            lines = seen.read_text().split("\n")[:-1]
            self.assertEqual(lines, [str(i) for i in range(len(lines))])
            measured(f"{count} numbers before the move, {len(lines) - count} after, none lost; {saved[1]}")
        self.assertEqual(vm.out("cat /proc/sys/kernel/random/boot_id"), boot_id)
        before = int(vm.out("kill -0 $(cat /run/shell) && wc -l < /root/numbers"))
        time.sleep(3)
        numbers = vm.out("cat /root/numbers").split()
        self.assertGreater(len(numbers), before)
        self.assertEqual(numbers, [str(i) for i in range(len(numbers))])
        vm.agent.start("poweroff")
        self.assertEqual(vm.wait_code(), 0, vm.log())
        done = tb.run("h2", "e2fsck", "-fn", disk, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


class Generic(unittest.TestCase):
    def test_debian_s_generic_kernel_boots_works_and_switches_off(self) -> None:
        vm = Vm(tb, "h1", "generic", "/var/tmp/generic.img", image="generic", address="10.77.1.53")
        self.addCleanup(tb.out, "h1", f"rm -f {vm.disk}")
        self.addCleanup(vm.kill)
        vm.copy_disk("generic")
        measured(f"login after {vm.boot():.1f} s")
        done: subprocess.CompletedProcess[str] = vm.ssh("uname -r; systemctl is-system-running --wait")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"^6\.1\.0-\d+-amd64\nrunning\n$")
        source = vm.out("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
        self.assertEqual(source, "kvm-clock")
        vm.agent.start("poweroff")
        self.assertEqual(vm.wait_code(), 0, vm.log())


if __name__ == "__main__":
    unittest.main()
