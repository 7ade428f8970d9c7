#!/usr/bin/env python3
"""`ftvmm run` with a stock Debian (the cloud kernel): it boots, works, keeps time, takes few exits, resets and ends.

Needs root and the images.  One guest goes through the classes in the order of `load_tests`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import unittest
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire, wait_until  # noqa: E402
from vm import LIMIT_S, Vm, drop_bridge, measured, on_client, shared_folder, use_bridge  # noqa: E402

CLOCK_BOUND_S = 0.050
DISK = "/var/tmp/run.img"
ECHO_PORT = 7002
KEPT = "/root/kept"

tb: Testbed
vm: Vm


def setUpModule() -> None:
    global tb, vm
    tb = acquire("--hosts", "1", "--no-nfs")
    unittest.addModuleCleanup(tb.release)
    use_bridge(tb, "h1")
    unittest.addModuleCleanup(drop_bridge, tb, "h1")
    vm = Vm(tb, "h1", "run", DISK)
    unittest.addModuleCleanup(tb.out, "h1", f"rm -f {DISK}")
    unittest.addModuleCleanup(vm.kill)
    vm.copy_disk()
    measured(f"login after {vm.boot('--stats'):.1f} s")


class Works(unittest.TestCase):
    def test_systemd_has_brought_up_every_unit(self) -> None:
        self.assertEqual(vm.out("systemctl is-system-running --wait; systemctl --failed --no-legend"), "running")

    def test_the_agent_s_answers_arrive_to_the_byte(self) -> None:
        data = vm.agent.run(r"printf '\r\377\000'; exit 7")
        self.assertEqual((data.code, data.output.encode("utf-8", "surrogateescape")), (7, b"\r\xff\0"))

    def test_it_answers_ping_and_ssh_from_the_network(self) -> None:
        self.assertTrue(tb.reachable("client", vm.address))
        done = vm.ssh("echo $USER@$(hostname)")
        self.assertEqual((done.returncode, done.stdout), (0, "root@guest\n"), done.stderr)

    def test_100_megabytes_arrive_from_a_web_server_as_they_were(self) -> None:
        with shared_folder() as folder:
            data = os.urandom(1_000_000) * 100
            Path(folder, "data").write_bytes(data)
            with on_client(tb, "python3", "-m", "http.server", "8100", "--bind", "10.77.1.100", "--directory", folder):
                wait_until("the server listens", lambda: "8100" in tb.out("client", "ss -Hltn sport = 8100"))
                start = time.monotonic()
                sent = vm.out("curl -sSf http://10.77.1.100:8100/data | sha256sum")
                measured(f"100 MB downloaded and hashed in {time.monotonic() - start:.1f} s")
        self.assertEqual(sent, hashlib.sha256(data).hexdigest() + "  -")

    def test_its_clock_is_kvm_s_and_shows_the_host_s_time(self) -> None:
        source = vm.out("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
        self.assertEqual(source, "kvm-clock")
        vm.serve_clock()
        offset, error = vm.clock_offset()
        measured(f"guest clock ahead by {offset * 1e3:.1f} ms, +- {error * 1e3:.1f} ms")
        self.assertLess(abs(offset), CLOCK_BOUND_S)
        year = vm.out("timedatectl show -p TimeUSec --value").split()[1][:4]
        self.assertEqual(year, tb.out("h1", "date +%Y"))

    def test_nothing_in_its_kernel_log_is_an_error(self) -> None:
        self.assertEqual(vm.out("dmesg --level emerg,alert,crit,err --notime"), "")


TICKS = "awk '/LOC:/ {print $2}' /proc/interrupts"


class Exits(unittest.TestCase):
    """How many exits work costs.  An emulated guest takes so long for a read or a round trip that its ticks'
    exits, of which there is at least one each, are more than the work's: they are counted and left out."""

    def per_piece(self, what: str, pieces: int, work: Callable[[], object]) -> float:
        ticks, before = int(vm.out(TICKS)), vm.exits()
        work()
        after = vm.exits()
        ticks = int(vm.out(TICKS)) - ticks
        exits = after.total - before.total
        figure = (exits - ticks) / pieces
        measured(f"{figure:.2f} exits per {what}: {exits} of {pieces} less {ticks} ticks\n"
                 f"  before: {before.text}\n  after: {after.text}")  # fmt: skip
        return figure

    def reads(self, engine: str, depth: int, count: int = 2000) -> float:
        command = ("fio --name=r --filename=/dev/vda --readonly --direct=1 --rw=randread --bs=4k --size=256m "
                   f"--ioengine={engine} --iodepth={depth} --output-format=terse --number_ios=")  # fmt: skip
        vm.out(command + "16")  # so that the program itself is in the page cache
        return self.per_piece(f"read at depth {depth}", count, lambda: vm.out(command + str(count)))

    def test_a_read_costs_at_most_two_and_a_half_and_less_at_depth_16(self) -> None:
        alone, together = self.reads("psync", 1), self.reads("libaio", 16)
        self.assertLess(together, alone)
        self.assertLessEqual(alone, 2.5)

    def test_a_busy_guest_s_tick_costs_at_most_four(self) -> None:
        before = vm.exits()
        ticks = int(vm.out(f"a=$({TICKS}); timeout 10 sh -c 'while :; do :; done'; echo $(($({TICKS}) - a))"))
        figure = (vm.exits().total - before.total) / ticks
        measured(f"{figure:.2f} exits per tick, of {ticks}")
        self.assertGreater(ticks, 1000)
        self.assertLessEqual(figure, 4)

    def test_a_network_round_trip_of_one_byte_costs_at_most_three(self) -> None:
        vm.serve(ECHO_PORT, "while (d := c.recv(1)):\n c.sendall(d)")
        program = ("import socket\n"
                   f"s = socket.create_connection(('{vm.address}', {ECHO_PORT}))\n"
                   "s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
                   "for _ in range(1000): s.sendall(b'x'); assert s.recv(1) == b'x'\n")  # fmt: skip
        figure = self.per_piece("round trip", 1000, lambda: tb.run("client", "python3", "-c", program))
        self.assertLessEqual(figure, 3)

    def test_an_idle_guest_costs_next_to_nothing(self) -> None:
        # utime and stime in ticks of 10 ms; the guest's time is in the former.
        used = "set -- $(cat /proc/$(cat pid)/stat); echo $((${14} + ${15})) $(cut -d ' ' -f 1 /proc/uptime)"
        time.sleep(10)
        before, cpu_before = vm.exits(), vm.sh(used).split()
        time.sleep(20)
        cpu_after, after = vm.sh(used).split(), vm.exits()
        seconds = float(cpu_after[1]) - float(cpu_before[1])
        share = (int(cpu_after[0]) - int(cpu_before[0])) / seconds  # percent: ticks are 10 ms
        rate = (after.total - before.total) / seconds
        measured(f"idle: {rate:.1f} exits per second, {share:.2f} % of a core")
        self.assertLess(rate, 30)
        self.assertLess(share, 1)


class Ends(unittest.TestCase):
    """Reset, power-off and power button, on a disk that must survive them all."""

    def test_reboot_power_off_and_power_button(self) -> None:
        pid, power_ons = vm.pid(), vm.exits().power_ons
        boot_id = vm.out("cat /proc/sys/kernel/random/boot_id")
        vm.agent.start("reboot")
        vm.await_login()
        self.assertNotEqual(vm.out("cat /proc/sys/kernel/random/boot_id"), boot_id)
        self.assertEqual((vm.pid(), vm.exits().power_ons), (pid, power_ons + 1))

        wanted = vm.out(f"head -c 30000000 /dev/urandom > {KEPT}; sync; sha256sum {KEPT}")
        vm.agent.start("poweroff")
        self.assertEqual(vm.wait_code(), 0, vm.log())
        self.assertIn("the guest has shut down", vm.log())

        vm.boot()
        self.assertEqual(vm.out(f"sha256sum {KEPT}"), wanted)
        start = time.monotonic()
        vm.signal("TERM")
        self.assertEqual(vm.wait_code(), 0, vm.log())
        measured(f"shut down {time.monotonic() - start:.1f} s after SIGTERM")
        self.assertIn("the guest has shut down", vm.log())
        done = tb.run("h1", "e2fsck", "-fn", DISK, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, _) -> unittest.TestSuite:
    """In this order: the last class switches the guest off."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(each) for each in (Works, Exits, Ends))


if __name__ == "__main__":
    unittest.main()
