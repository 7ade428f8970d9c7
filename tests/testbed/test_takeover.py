#!/usr/bin/env python3
"""The host under the Primary is lost, and its Secondary goes on: the clients' connections live, nothing that was
acknowledged is lost, and never do two hosts run the VM.

Needs root and the images.  The guest is the small one: it counts what `client` asks it for, in its memory, and writes
each number to its disk before it says it.  So a count that goes on without a hole is a guest that went on, and what was
acknowledged is looked for on the disk itself.  matrix.py runs all of this again and again, and makes a table of it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire, wait_until  # noqa: E402
from pairing import DISK, SHARED, Cluster, Counting, Half, Wire, drop, ft_section, sectors  # noqa: E402
from vm import ConsoleAgent, FTVMM, LIMIT_S, Vm, measured  # noqa: E402

COUNTER = 7003
# Emulated hosts share two processors with all that a test does: who is silent for less than this is busy.
DEAD_AFTER_MS = int(os.environ.get("FTVMM_DEAD_AFTER_MS", "1000"))
LEASE_S = 5

# How often the VM changes hosts in a row; a test of its own does that.
FAILOVERS = int(os.environ.get("FTVMM_FAILOVERS", "3"))
MAC = "52:54:00:00:00:32"

tb: Testbed
cluster: Cluster

# Of each event: how long the client heard nothing, and what the takeover said of itself, if it came to one.
gaps: list[tuple[str, float, str]] = []


def setUpModule() -> None:
    global tb, cluster
    tb = acquire("--hosts", "2")
    unittest.addModuleCleanup(tb.release)
    unittest.addModuleCleanup(tb.verb, "heal")
    cluster = Cluster(tb, "h1", "h2")
    unittest.addModuleCleanup(cluster.drop)


class Pair(unittest.TestCase):
    """A VM on both hosts, new for each test."""

    PATHS: tuple[str, ...] = ()
    # Hosts on which whoever looks at the disk would wait for it.
    without_storage: tuple[str, ...] = ()

    def setUp(self) -> None:
        base = Vm(tb, "h1", "lasting", DISK, image="quick", memory="128 MiB")
        self.address = base.address
        cluster.new_vm()
        toml = base.toml + ft_section(DEAD_AFTER_MS, LEASE_S, *self.PATHS)
        self.h1, self.h2 = Half(cluster, "h1", toml), Half(cluster, "h2", toml)
        for half in (self.h1, self.h2):
            self.addCleanup(half.kill)
        self.addCleanup(tb.verb, "heal")
        self.h1.run()
        self.h1.await_line("this host owns the VM, in generation 1")
        self.serve()
        self.h2.follow()
        self.h1.await_line("the VM is protected")
        self.h2.await_line("the pair is complete")

    def serve(self) -> None:
        """In the guest: a process for each connection, which has a number for each line that comes."""
        console = self.h1.console()
        self.addCleanup(drop, console)
        agent = ConsoleAgent((console.stdout.fileno(), console.stdin.fileno()))
        agent.ready(LIMIT_S)
        agent.run(f"echo {shlex.quote(Counting.GUEST)} > /tmp/count; nc -ll -p {COUNTER} -e sh /tmp/count > /dev/null 2>&1 < /dev/null &")
        wait_until("it counts", lambda: agent.run("netstat -ltn").output.count(f":{COUNTER} "), LIMIT_S)
        wait_until("the guest answers", lambda: tb.reachable("client", self.address), LIMIT_S)

    def kill_host(self, host: str) -> None:
        self.addCleanup(cluster.start_host, host)
        tb.verb("kill", host)

    def through(self, what: str, event: object, seconds: float = 10) -> float:
        """The client counts while the event comes, without a hole, and what it was told is on the disk.  How long it heard
        nothing, in ms."""
        before = self.takeovers()
        counting = Counting(tb, self.address, COUNTER, seconds)
        time.sleep(2)
        event()
        numbers, gap_ms = counting.end()
        self.goes_on(numbers)
        taken = [line for line in self.takeovers() if line not in before]
        measured(f"{what}: silent for {gap_ms:.0f} ms, {counting.gap_at_s:.1f} s after its first number, {len(numbers)} numbers{''.join('; ' + line for line in taken)}")
        gaps.append((what, gap_ms, "".join(taken[-1:])))
        return gap_ms

    def takeovers(self) -> list[str]:
        return [line for half in (self.h1, self.h2) if tb.state(half.host) == "up"
                for line in re.findall(r"the takeover took .*", half.log())]  # fmt: skip

    def goes_on(self, numbers: list[int]) -> None:
        self.assertEqual(numbers, list(range(1, 1 + len(numbers))))
        self.is_on_disk(len(numbers))

    def is_on_disk(self, count: int) -> None:
        host = next(host for host in cluster.hosts if tb.state(host) == "up" and host not in self.without_storage)
        self.assertEqual(sectors(tb, host, count), [str(number) for number in range(1, 1 + count)])

    def only_one_runs(self, winner: Half, loser: Half) -> None:
        """The loser has halted, and says who goes on."""
        self.assertEqual(loser.code(), 5, loser.log())
        self.assertIn(f"host {winner.host} owns the VM", loser.log())

    def exactly_one_goes_on(self) -> None:
        wait_until("one has lost", lambda: "owns the VM in generation" in self.h1.log() + self.h2.log(), 60)
        if "takes the VM over" in self.h2.log():
            self.assertNotIn("this host owns the VM alone", self.h1.log())
            self.only_one_runs(self.h2, self.h1)
        else:
            self.assertIn("this host owns the VM alone", self.h1.log())
            self.assertIn("host h1 owns the VM", self.h2.log())

    def counts_still(self) -> None:
        numbers, _ = Counting(tb, self.address, COUNTER, 2).end()
        self.goes_on(numbers)


class PrimaryLost(Pair):
    def test_its_process_is_killed(self) -> None:
        gap_ms = self.through("the Primary's process is killed", lambda: self.h1.signal("KILL"))
        self.assertLess(gap_ms, DEAD_AFTER_MS + 2000)

    def test_its_host_is_killed_and_later_the_other_one_too(self) -> None:
        gap_ms = self.through("the Primary's host is killed", lambda: self.kill_host("h1"), 15)
        self.assertLess(gap_ms, DEAD_AFTER_MS + 3000)
        cluster.start_host("h1")
        self.h1.follow()
        self.h2.await_line("the VM is protected")
        self.h1.await_line("the pair is complete")
        self.through("then the new Primary's host is", lambda: self.kill_host("h2"), 15)
        self.counts_still()

    def stand_still(self, seconds: float) -> None:
        tb.verb("pause", "h1")
        time.sleep(seconds)
        tb.verb("resume", "h1")

    def test_its_host_stands_still_for_a_moment(self) -> None:
        self.through("the Primary's host stands still for 0.3 s", lambda: self.stand_still(0.3))
        self.assertNotIn("takes the VM over", self.h2.log())
        self.counts_still()

    def test_its_host_stands_still_for_about_as_long_as_a_dead_one(self) -> None:
        self.through("the Primary's host stands still for 1 s", lambda: self.stand_still(1))
        if "the Primary is lost" in self.h2.log():
            self.exactly_one_goes_on()
        self.counts_still()

    def wakes_up_silent(self, seconds: float) -> None:
        wire = Wire(tb, "h1", MAC)
        gap_ms = self.through(f"the Primary's host stands still for {seconds} s", lambda: self.stand_still(seconds),
                              seconds + 10)  # fmt: skip
        self.assertLess(gap_ms, DEAD_AFTER_MS + 3000)
        self.only_one_runs(self.h2, self.h1)
        sent = wire.end()
        self.assertGreater(len(sent), 10)
        # It went on by its clock while it stood still.  A guest that counts is never silent for so long.
        awake = [later for sooner, later in zip(sent, sent[1:]) if later - sooner > seconds - 1]
        self.assertEqual(awake, [], "frames of the VM left the host that had lost it")
        self.counts_still()

    def test_its_host_stands_still_for_long_and_wakes(self) -> None:
        self.wakes_up_silent(5)
        self.becomes_one_file()

    def becomes_one_file(self) -> None:
        """The lost host's process has ended, so its locks are free."""
        self.h2.await_line(f"disk {DISK} is whole again")
        self.assertEqual(tb.out("h2", f"ls {DISK}*").split(), [DISK])
        self.counts_still()

    def test_what_its_host_was_to_write_lands_after_the_takeover(self) -> None:
        """Its kernel has the write that the guest waits for, and gets it through once another host owns the VM and has
        written to the same block again."""

        def event() -> None:
            tb.verb("cut", "h1", "nfs1")
            time.sleep(0.3)
            tb.verb("pause", "h1")
            tb.verb("heal", "h1", "nfs1")
            time.sleep(4)
            tb.verb("resume", "h1")

        self.through("its host stands still in the middle of a write, and wakes", event, 15)
        self.h2.await_line(f"disk {DISK}: what the VM writes goes into {DISK}.g3")
        self.only_one_runs(self.h2, self.h1)
        self.becomes_one_file()

    def test_its_host_stands_still_for_very_long_and_wakes(self) -> None:
        self.wakes_up_silent(30)

    def test_its_host_is_lost_again_and_again(self) -> None:
        """Each time by a killed process, and with a new Secondary on the host of the last Primary."""
        primary, secondary = self.h1, self.h2
        for i in range(FAILOVERS):
            before = primary, secondary.log()
            self.through(f"failover {i + 1} of {FAILOVERS} in a row", lambda: before[0].signal("KILL"), 6)
            primary, secondary = secondary, primary
            secondary.code()
            secondary.follow()
            wait_until("it is protected again", lambda: "the VM is protected" in primary.log()[len(before[1]):], LIMIT_S)
        self.counts_still()


class SecondaryLost(Pair):
    def test_its_process_is_killed_and_another_one_comes(self) -> None:
        gap_ms = self.through("the Secondary's process is killed", lambda: self.h2.signal("KILL"), 8)
        self.assertLess(gap_ms, 1000)
        self.assertIn("this host owns the VM alone, in generation 3", self.h1.log())
        self.h2.follow()
        wait_until("it is protected again", lambda: self.h1.log().count("the VM is protected") == 2, LIMIT_S)
        self.counts_still()

    def test_its_host_is_killed(self) -> None:
        gap_ms = self.through("the Secondary's host is killed", lambda: self.kill_host("h2"), 8)
        self.assertLess(gap_ms, DEAD_AFTER_MS + 1500)

    def test_another_one_that_sees_a_copy_of_the_storage_is_none(self) -> None:
        self.h2.kill()
        self.h1.await_line("this host owns the VM alone")
        tb.out("h1", f"rm -rf {SHARED}-copy; cp -r {SHARED} {SHARED}-copy")
        self.addCleanup(tb.out, "h1", f"rm -rf {SHARED}-copy")
        other = Half(cluster, "h2", self.h1.toml.replace(f'"{SHARED}"', f'"{SHARED}-copy"'))
        other.follow()
        other.await_line("the shared folder here is not the Primary's")
        self.h1.await_line("it can not take over: the shared folder here is not the Primary's")
        self.assertEqual(self.h1.log().count("the VM is protected"), 1)
        self.h1.await_line("this host owns the VM alone, in generation 5")
        self.counts_still()
        self.assertNotIn("takes the VM over", other.log())

    def test_it_leaves(self) -> None:
        self.through("the Secondary leaves", lambda: self.h2.signal("TERM"), 6)
        self.assertEqual(self.h2.code(), 3)

    def test_it_is_killed_while_its_clone_comes_over(self) -> None:
        self.h2.kill()
        self.h1.await_line("this host owns the VM alone")

        def event() -> None:
            self.h2.follow()
            self.h1.await_line("is here for the Secondary")
            self.h2.signal("KILL")

        gap_ms = self.through("the new Secondary is killed while its clone comes over", event)
        self.assertLess(gap_ms, 1000)


class Split(Pair):
    def test_the_link_alone_is_cut(self) -> None:
        self.through("the link is cut, storage and clients are not", lambda: tb.verb("cut", "h1", "h2", "--net", "ft"), 12)
        self.exactly_one_goes_on()
        tb.verb("heal")
        self.counts_still()

    def cut_all(self, *hosts_without_storage: str) -> None:
        tb.verb("cut", "h1", "h2")
        self.without_storage = hosts_without_storage
        for host in hosts_without_storage:
            tb.verb("cut", host, "nfs1")

    def test_all_nets_are_cut_and_both_reach_the_storage(self) -> None:
        self.through("all between the hosts is cut, both reach the storage", self.cut_all, 12)
        self.exactly_one_goes_on()

    def test_all_nets_are_cut_and_the_secondary_alone_reaches_the_storage(self) -> None:
        self.through("all is cut, the Secondary alone reaches the storage", lambda: self.cut_all("h1"), 15)
        self.h2.await_line("this host takes the VM over")
        tb.verb("heal")
        self.without_storage = ()
        self.only_one_runs(self.h2, self.h1)
        self.counts_still()

    def test_all_nets_are_cut_and_the_primary_alone_reaches_the_storage(self) -> None:
        self.through("all is cut, the Primary alone reaches the storage", lambda: self.cut_all("h2"), 15)
        self.h1.await_line("this host owns the VM alone")
        self.assertNotIn("takes the VM over", self.h2.log())
        tb.verb("heal")
        self.without_storage = ()
        self.h2.await_line("host h1 owns the VM", 60)
        self.counts_still()

    def nobody_wins_for(self, seconds: float) -> None:
        time.sleep(seconds)
        self.assertNotRegex(self.h1.log() + self.h2.log(), "takes the VM over|owns the VM alone")

    def test_all_nets_are_cut_and_nobody_reaches_the_storage(self) -> None:
        def event() -> None:
            self.cut_all("h1", "h2")
            self.nobody_wins_for(6)
            for host in ("h1", "h2"):
                tb.verb("heal", host, "nfs1")
            self.without_storage = ()

        self.through("all is cut, nobody reaches the storage for 6 s", event, 90)
        self.exactly_one_goes_on()

    def test_the_link_is_cut_while_the_storage_is_away(self) -> None:
        def event() -> None:
            tb.verb("nfs-stop")
            tb.verb("cut", "h1", "h2", "--net", "ft")
            self.nobody_wins_for(6)
            tb.verb("nfs-start")

        self.through("the link is cut while the storage is away for 6 s", event, 90)
        self.exactly_one_goes_on()


class StorageAway(Pair):
    def nobody_dies(self) -> None:
        self.assertNotRegex(self.h1.log() + self.h2.log(), "takes the VM over|owns the VM alone|the Secondary is lost")
        self.counts_still()

    def test_it_is_away_for_a_minute(self) -> None:
        def event() -> None:
            tb.verb("nfs-stop")
            time.sleep(60)
            tb.verb("nfs-start")

        self.through("the storage is away for 60 s", event, 150)
        self.nobody_dies()

    def test_its_server_loses_its_power(self) -> None:
        def event() -> None:
            tb.verb("kill", "nfs1")
            tb.verb("start", "nfs1")

        self.through("the storage's server loses its power and boots", event, 240)
        self.nobody_dies()

    def test_the_link_is_cut_while_its_server_boots(self) -> None:
        def event() -> None:
            tb.verb("kill", "nfs1")
            tb.verb("cut", "h1", "h2", "--net", "ft")
            tb.verb("start", "nfs1")

        self.through("the link is cut while the storage's server boots", event, 240)
        self.exactly_one_goes_on()


class TwoPaths(Pair):
    """The hosts beat on the service network too, on which clients and storage are."""

    PATHS = ("10.77.1.0/24",)
    SERVICE = "10.77.1.11 to 10.77.1.12"

    def paths(self) -> dict[str, str]:
        told = json.loads(tb.out("h1", f"{FTVMM} status lasting --json"))["paths"]
        return {path["name"]: path["state"] for path in told}

    def stays_a_pair(self) -> None:
        for half in (self.h1, self.h2):
            self.assertNotRegex(half.log(), "is lost|takes the VM over|owns the VM alone")
        self.assertEqual(self.h1.log().count("the VM is protected"), 1)

    def test_a_path_beside_the_link_is_cut_and_heals_and_nothing_else_happens(self) -> None:
        def event() -> None:
            self.assertEqual(set(self.paths().values()), {"heard"})
            tb.verb("cut", "h1", "h2", "--net", "svc")
            for half in (self.h1, self.h2):
                half.await_line("to the other host is silent", 30)
            self.assertEqual(self.paths()[self.SERVICE], "silent")
            self.assertEqual(self.paths()["link"], "heard")
            tb.verb("heal")
            for half in (self.h1, self.h2):
                half.await_line("to the other host is heard again", 30)

        self.through("a path beside the link is cut", event, 20)
        self.assertEqual(self.paths()[self.SERVICE], "heard")
        self.stays_a_pair()

    def test_the_links_network_is_cut_for_a_moment_and_the_pair_goes_on(self) -> None:
        def event() -> None:
            tb.verb("cut", "h1", "h2", "--net", "ft")
            time.sleep(2 * DEAD_AFTER_MS / 1000)
            tb.verb("heal")

        gap_ms = self.through(f"the link's network is cut for {2 * DEAD_AFTER_MS} ms, with another path", event, 15)
        self.assertGreater(gap_ms, DEAD_AFTER_MS)
        self.stays_a_pair()

    def test_the_links_network_is_cut_for_good_and_the_primary_goes_on_alone(self) -> None:
        self.through("the link's network is cut for good, with another path",
                     lambda: tb.verb("cut", "h1", "h2", "--net", "ft"), 25)  # fmt: skip
        self.assertIn("this host owns the VM alone", self.h1.log())
        self.h2.await_line("host h1 owns the VM", 30)
        self.assertNotIn("takes the VM over", self.h2.log())
        tb.verb("heal")
        self.counts_still()


class ColdStart(Pair):
    def test_a_vm_that_runs_is_not_started_twice_and_one_that_ended_at_once(self) -> None:
        other = Half(cluster, "h2", self.h1.toml)
        self.h2.kill()
        self.h1.await_line("this host owns the VM alone")
        other.start("run")
        other.await_line("the VM waits to be started", 30)
        time.sleep(2 * LEASE_S)
        self.assertNotIn("this host owns the VM", other.log())
        self.counts_still()
        self.h1.signal("TERM")
        self.h1.signal("TERM")
        self.assertEqual(self.h1.code(), 3)
        other.await_line("this host owns the VM", 30)

    def both_start_and_one_comes_up(self, what: str, said: int) -> None:
        begun = time.monotonic()
        for half in (self.h1, self.h2):
            half.run()
        wait_until("one runs", lambda: "this host owns the VM" in self.h1.log() + self.h2.log(), 90)
        measured(f"{what}: one runs after {time.monotonic() - begun:.1f} s, with a lease of {LEASE_S} s")
        time.sleep(LEASE_S)
        owners = [half.host for half in (self.h1, self.h2) if "this host owns the VM, in generation" in half.log()]
        self.assertEqual(len(owners), 1, self.h1.log() + self.h2.log())
        self.is_on_disk(said)

    def test_both_are_killed_and_started_and_exactly_one_comes_up(self) -> None:
        numbers, _ = Counting(tb, self.address, COUNTER, 2).end()
        self.h1.signal("KILL")
        self.h2.signal("KILL")
        self.both_start_and_one_comes_up("both are killed", len(numbers))

    def test_the_secondary_is_killed_while_it_takes_over(self) -> None:
        numbers, _ = Counting(tb, self.address, COUNTER, 2).end()
        self.h1.signal("KILL")
        self.h2.await_line("the storage decides who goes on")
        self.h2.signal("KILL")
        self.both_start_and_one_comes_up("both are killed, one while it takes over", len(numbers))

    def test_the_primary_is_killed_while_a_clone_goes_over(self) -> None:
        numbers, _ = Counting(tb, self.address, COUNTER, 2).end()
        self.h2.kill()
        self.h1.await_line("this host owns the VM alone")
        self.h2.follow()
        self.h2.await_line("its VM comes over")
        self.h1.signal("KILL")
        self.h2.await_line("no Primary to follow yet")
        self.assertNotIn("takes the VM over", self.h2.log())
        self.h2.kill()
        self.both_start_and_one_comes_up("the Primary is killed while a clone goes over", len(numbers))


if __name__ == "__main__":
    unittest.main()
