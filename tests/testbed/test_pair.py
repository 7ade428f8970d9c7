#!/usr/bin/env python3
"""A Primary and its Secondary on two hosts: the running VM goes over, both stay in lockstep to the end, nothing leaves
the guest that the Secondary has not got, and a Secondary that is lost costs the VM a moment.

Needs root and the images.  The guest is the small one; what the world sees of it is its answers to `client`'s pings.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire, wait_until  # noqa: E402
from vm import FTVMM, LIMIT_S, Vm, drop_bridge, measured, use_bridge  # noqa: E402

PORT = 4242
FOLDER = "/run/pair"
PKI = f"{FOLDER}/pki"
WORK = "for i in 1 2 3 4; do (head -c 3000 /dev/urandom | sha256sum; echo $i) & done; wait; date"
SECRET = "correct-horse-battery-staple-7731"

tb: Testbed
vm: Vm


def setUpModule() -> None:
    global tb, vm
    tb = acquire("--hosts", "2")
    unittest.addModuleCleanup(tb.release)
    use_bridge(tb, "h1")
    unittest.addModuleCleanup(drop_bridge, tb, "h1")
    unittest.addModuleCleanup(tb.verb, "heal")
    make_certificates("cluster", "h1", "h2")
    # Quiet: what a kernel prints goes byte by byte, and each is an exit on both hosts.
    vm = Vm(tb, "h1", "paired", image="quick", cmdline="quiet", memory="128 MiB")
    unittest.addModuleCleanup(vm.kill)
    unittest.addModuleCleanup(Secondary.end_all)
    vm.start("--ft-listen", f"10.77.2.11:{PORT}", "--pki", PKI, "--peer", "h2", "--stats", "--audit")
    vm.serial.ready(LIMIT_S)


def make_certificates(cluster: str, *hosts: str) -> None:
    """Each host gets its folder of a new cluster."""
    shared = "/srv/ftvmm/pki"
    tb.out("h1", f"rm -rf {shared}; {FTVMM} pki init {shared} --name {cluster}; "
           + "; ".join(f"{FTVMM} pki issue {shared} --host {host}" for host in hosts))  # fmt: skip
    for host in hosts:
        tb.out(host, f"mkdir -p {FOLDER}; rm -rf {PKI}; cp -r {shared}/hosts/{host} {PKI}; chmod 700 {PKI}")
    tb.out("h1", f"rm -rf {shared}")


class Secondary:
    """`ftvmm secondary` on h2."""

    def __init__(self, toml: str | None = None, pki: str = PKI) -> None:
        tb.run("h2", "sh", "-c", f"mkdir -p {FOLDER}; cat > {FOLDER}/vm.toml", stdin=toml or vm.toml)
        self.said_before = vm.log()
        tb.out("h2", f"cd {FOLDER}; rm -f code; setsid sh -c 'echo $$ > pid; {FTVMM} secondary vm.toml --connect "
               f"10.77.2.11:{PORT} --pki {pki} --peer h1; echo $? > code' > log 2>&1 < /dev/null &")  # fmt: skip

    def log(self) -> str:
        return tb.out("h2", f"cat {FOLDER}/log")

    def signal(self, name: str) -> None:
        tb.out("h2", f"pkill -{name} -x ftvmm")

    def code(self) -> int:
        wait_until("the Secondary has ended", lambda: tb.out("h2", f"test -s {FOLDER}/code; echo $?") == "0", 60)
        return int(tb.out("h2", f"cat {FOLDER}/code"))

    def news(self) -> str:
        """What the Primary has said since this Secondary began."""
        return vm.log()[len(self.said_before):]

    def await_lockstep(self) -> None:
        wait_until("the VM is protected", lambda: "the VM is protected" in self.news(), LIMIT_S, every_s=0.5)
        found = re.search(r"protected: .*", self.news())
        measured(found[0])

    @staticmethod
    def end_all() -> None:
        tb.out("h2", "pkill -KILL -x ftvmm || true")


def pings(count: int = 5, every_s: float = 0.3, wait_s: int = 5) -> list[float]:
    """The round trips of those pings that were answered, in ms."""
    done = tb.run("client", "ping", "-c", count, "-i", every_s, "-W", wait_s, vm.address, check=False)
    return [float(ms) for ms in re.findall(r"time=([\d.]+) ms", done.stdout)]


def status(host: str) -> dict:
    """What the VM's half there says of itself."""
    return json.loads(tb.out(host, f"{FTVMM} status paired --json"))


def works() -> None:
    assert len(vm.serial.run(WORK, LIMIT_S).output.splitlines()) == 9


class Lockstep(unittest.TestCase):
    def setUp(self) -> None:
        self.secondary = Secondary()
        self.addCleanup(Secondary.end_all)
        self.secondary.await_lockstep()

    def test_the_guest_answers_as_before_and_both_agree(self) -> None:
        self.assertEqual(vm.serial.run("echo $((6 * 7))").output, "42\n")
        works()
        self.assertEqual(len(pings()), 5)
        self.assertNotIn("diverged", self.secondary.log() + self.secondary.news())
        status = vm.exits() and vm.log()
        self.assertRegex(status, r"protection: protected, Secondary on h2")
        measured(re.findall(r"link: .*", status)[-1])

    def test_both_hosts_tell_that_the_pair_is_protected(self) -> None:
        for host in ("h1", "h2"):
            wait_until("it tells so", lambda: status(host)["protection"] == "protected", LIMIT_S)
        primary, secondary = status("h1"), status("h2")
        self.assertEqual((primary["name"], primary["role"], primary["peer"]), ("paired", "primary", "h2"))
        self.assertEqual((secondary["name"], secondary["role"], secondary["peer"]), ("paired", "secondary", "h1"))
        self.assertLess(primary["vlockstep_interval_ms"]["average"], 1000)
        self.assertGreater(primary["log"]["bytes"], 0)
        self.assertGreaterEqual(secondary["records_behind"], 0)
        measured(f"vLockstep interval {primary['vlockstep_interval_ms']}, log {primary['log']}, hold {primary['hold']}")

    def test_a_secondary_that_is_killed_costs_a_moment_and_another_one_takes_its_place(self) -> None:
        self.secondary.signal("KILL")
        wait_until("the Primary runs alone", lambda: "the Secondary is lost" in self.secondary.news(), 20)
        self.assertEqual(len(pings()), 5)
        works()
        again = Secondary()
        again.await_lockstep()
        works()
        self.assertNotIn("diverged", again.log() + again.news())

    def test_a_secondary_that_is_stopped_says_goodbye(self) -> None:
        self.secondary.signal("TERM")
        self.assertEqual(self.secondary.code(), 3)
        wait_until("the Primary runs alone", lambda: "the Secondary has left" in self.secondary.news(), 20)
        works()


class OutputRule(unittest.TestCase):
    def setUp(self) -> None:
        self.secondary = Secondary()
        self.addCleanup(Secondary.end_all)
        self.addCleanup(tb.verb, "heal")
        self.secondary.await_lockstep()

    def test_with_a_link_that_is_200_ms_late_every_answer_takes_200_ms_more(self) -> None:
        # 100 each way: the log over, its ack back.
        usual = sorted(pings())
        tb.verb("delay", "h1", "h2", 100, "--net", "ft")
        late = sorted(pings(every_s=0.6))
        tb.verb("heal")
        measured(f"pings take {usual} ms, with the late link {late} ms")
        self.assertEqual((len(usual), len(late)), (5, 5))
        self.assertGreater(min(late), 200)
        self.assertLess(late[2], 200 + usual[2] + 150)

    def test_with_a_link_that_stands_still_nothing_leaves_and_then_everything_in_order(self) -> None:
        tb.verb("cut", "h1", "h2", "--net", "ft")
        before = time.monotonic()
        ping = tb.spawn("client", "ping", "-c", 4, "-i", 0.3, "-W", 10, vm.address)
        self.assertEqual(pings(count=3, wait_s=1), [])
        silent_s = time.monotonic() - before
        tb.verb("heal")
        out, _ = ping.communicate(timeout=30)
        order = re.findall(r"icmp_seq=(\d+) .*time=([\d.]+)", out)
        measured(f"silent for {silent_s:.1f} s, then {order}")
        self.assertEqual([seq for seq, _ in order], ["1", "2", "3", "4"], out)
        self.assertNotIn("DUP", out)
        self.assertGreater(float(order[0][1]), 1000)
        self.assertNotIn("lost", self.secondary.news())


class SlowSecondary(unittest.TestCase):
    """The Secondary's process gets a quarter of its host's time."""

    GROUP = "/sys/fs/cgroup/slow-secondary"
    SLOW_S = 30
    MOST_LAG_MS = 5000
    # Of log, sent and not replayed or not sent yet, both ends may keep so much (LinkLimits, docs/link.md).
    MOST_MORE_KIB = 100 << 10

    def setUp(self) -> None:
        self.secondary = Secondary()
        self.addCleanup(Secondary.end_all)
        self.secondary.await_lockstep()
        # Counts as fast as it can; each number is some system calls, and every hundredth starts a program.
        vm.serial.run("(n=0; while [ ! -e /tmp/stop ]; do n=$((n + 1)); echo $n > /tmp/n; "
                      "[ $((n % 100)) -ne 0 ] || head -c 3000 /dev/urandom | sha256sum; done) > /dev/null 2>&1 < /dev/null &")
        self.addCleanup(vm.serial.run, "touch /tmp/stop")
        self.addCleanup(self.set_share, None)
        vm.serial.run("rm -f /tmp/stop")

    def set_share(self, percent: int | None) -> None:
        if percent is None:
            tb.out("h2", f"test ! -d {self.GROUP} || echo max > {self.GROUP}/cpu.max")
            return
        tb.out("h2", f"mkdir -p {self.GROUP}; echo +cpu > /sys/fs/cgroup/cgroup.subtree_control; "
               f"echo {1000 * percent} 100000 > {self.GROUP}/cpu.max; pgrep -x ftvmm > {self.GROUP}/cgroup.procs")  # fmt: skip

    def memory_kib(self) -> int:
        return max(int(tb.out(host, "awk '/^RssAnon/ { print $2 }' /proc/$(pgrep -x ftvmm)/status")) for host in ("h1", "h2"))

    def counted_in(self, seconds: float) -> float:
        """A second, by the guest's clock and its own count."""
        def look() -> tuple[float, int]:
            # The file is empty for a moment each time that it is written.
            up, count = vm.serial.run("until n=$(cat /tmp/n) && [ \"$n\" ]; do :; done; cut -d' ' -f1 /proc/uptime; echo $n",
                                      LIMIT_S).output.split()  # fmt: skip
            return float(up), int(count)

        first = look()
        time.sleep(seconds)
        last = look()
        return (last[1] - first[1]) / (last[0] - first[0])

    def test_the_primary_slows_down_to_match_and_is_fast_again(self) -> None:
        usual, usual_kib = self.counted_in(8), self.memory_kib()
        self.set_share(25)
        lags, duties, memory = [], [], []
        end = time.monotonic() + self.SLOW_S
        while time.monotonic() < end:
            told = status("h1")
            self.assertEqual(told["protection"], "protected")
            lags.append(told["vlockstep_interval_ms"]["now"])
            duties.append(told["duty_percent"])
            memory.append(self.memory_kib())
            time.sleep(0.5)
        self.set_share(None)
        begun = time.monotonic()
        wait_until("the guest has all of its time", lambda: status("h1")["duty_percent"] == 100, 30, every_s=0.2)
        fast_s = time.monotonic() - begun
        again = self.counted_in(8)
        measured(f"with a quarter: lag at most {max(lags):.0f} ms, {sorted(lags)[len(lags) // 2]:.0f} ms in the middle, the guest "
                 f"gets {min(duties)} to {max(duties)} % of its time, memory {max(memory) - usual_kib} KiB more; "
                 f"all of it {fast_s:.1f} s after; it counts {usual:.0f} a second before and {again:.0f} behind it")
        self.assertLess(min(duties), 100)
        self.assertIn("the guest is slowed down until it keeps up", self.secondary.news())
        self.assertLess(max(lags), self.MOST_LAG_MS)
        self.assertLess(max(memory) - usual_kib, self.MOST_MORE_KIB)
        self.assertLess(fast_s, 10)
        self.assertGreater(again, 0.7 * usual)


class Secrets(unittest.TestCase):
    def test_what_is_typed_and_what_is_in_memory_is_not_on_the_wire(self) -> None:
        vm.serial.run(f"echo {SECRET}-in-memory > /tmp/secret")
        dump = tb.spawn("h1", "timeout", 60, "tcpdump", "-i", "ft", "-s", "0", "-U", "-w", f"{FOLDER}/dump", "tcp")
        wait_until("tcpdump listens", lambda: tb.out("h1", f"test -s {FOLDER}/dump; echo $?") == "0")
        secondary = Secondary()
        self.addCleanup(Secondary.end_all)
        secondary.await_lockstep()
        vm.serial.run(f"echo {SECRET}-typed > /dev/null")
        Secondary.end_all()
        tb.out("h1", "pkill -INT -x tcpdump")
        dump.communicate(timeout=30)
        size = int(tb.out("h1", f"stat -c %s {FOLDER}/dump"))
        measured(f"{size} bytes of the link were seen")
        self.assertGreater(size, 1 << 20)
        self.assertEqual(tb.out("h1", f"grep -c {SECRET} {FOLDER}/dump || true"), "0")
        # The same search does find what is there.
        self.assertEqual(tb.out("h1", f"printf %s {SECRET} >> {FOLDER}/dump; grep -c {SECRET} {FOLDER}/dump"), "1")


class Refused(unittest.TestCase):
    def refused(self, toml: str | None = None, pki: str = PKI) -> tuple[str, str]:
        secondary = Secondary(toml, pki)
        self.addCleanup(Secondary.end_all)
        wait_until("it was refused", lambda: "no Primary to follow" in secondary.log(), 30)
        Secondary.end_all()
        return secondary.log(), secondary.news()

    def test_another_vm(self) -> None:
        other = re.sub(r'uuid = "........', 'uuid = "01234567', vm.toml)
        said, _ = self.refused(other)
        self.assertIn("uuid", said)
        works()

    def test_another_amount_of_memory(self) -> None:
        said, _ = self.refused(vm.toml.replace("128 MiB", "192 MiB"))
        self.assertIn("memory", said)

    def test_a_host_of_another_cluster(self) -> None:
        foreign = f"{FOLDER}/foreign"
        tb.out("h2", f"rm -rf {foreign}; {FTVMM} pki init {foreign} --name other; {FTVMM} pki issue {foreign} --host h2")
        said, news = self.refused(pki=f"{foreign}/hosts/h2")
        self.assertRegex(said, r"certificate|authority|trust")
        works()

    def test_a_host_whose_name_is_not_the_expected_one(self) -> None:
        # h1's own certificate, shown by h2.
        tb.out("h1", f"mkdir -p /srv/ftvmm/pair; cp -r {PKI} /srv/ftvmm/pair/h1")
        self.addCleanup(tb.out, "h1", "rm -rf /srv/ftvmm/pair")
        tb.out("h2", f"rm -rf {FOLDER}/h1; cp -r /srv/ftvmm/pair/h1 {FOLDER}/h1; chmod 700 {FOLDER}/h1")
        said, news = self.refused(pki=f"{FOLDER}/h1")
        self.assertRegex(news, r"h1|name")
        works()


class ToTheEnd(unittest.TestCase):
    def test_the_guest_starts_anew_and_powers_off_in_lockstep(self) -> None:
        secondary = Secondary()
        self.addCleanup(Secondary.end_all)
        secondary.await_lockstep()
        vm.serial.start("reboot -f")
        # Not over the serial line: what is typed there before the guest listens is echoed, byte by byte, and each
        # byte is some exits on both hosts.
        vm.agent.ready(LIMIT_S)
        vm.serial.ready(LIMIT_S)
        works()
        self.assertNotIn("lost", secondary.news())
        vm.serial.start("poweroff -f")
        self.assertEqual(vm.wait_code(), 0, vm.log())
        self.assertEqual(secondary.code(), 0, secondary.log())
        self.assertNotIn("diverged", secondary.log() + secondary.news())
        self.assertIn("ended on the Primary, and here", secondary.log())


def load_tests(loader: unittest.TestLoader, _tests: object, _pattern: object) -> unittest.TestSuite:
    """ToTheEnd is the end of the guest.  SlowSecondary is run by its name alone: a Secondary that has a quarter of its
    host's time often keeps up with this guest all the same, and then there is nothing to see."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Lockstep, OutputRule, Secrets, Refused, ToTheEnd))


if __name__ == "__main__":
    unittest.main()
