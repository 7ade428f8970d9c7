#!/usr/bin/env python3
"""Coming and going: what a testbed leaves behind, and what it refuses.  Needs root and a built image.

Its testbeds are small and of their own names: they disturb no other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from ftvmm_testbed.instance import CHECKOUT, RUN_ROOT, Instance  # noqa: E402
from harness import PROGRAM, Testbed, wait_until  # noqa: E402

NETWORK_ONLY = ("--hosts", "0", "--no-nfs")
ONE_HOST = ("--hosts", "1", "--no-nfs", "--memory", "768")


def command_output(*command: str) -> list[str]:
    return sorted(subprocess.run(command, capture_output=True, text=True).stdout.splitlines())


def processes_of(name: str) -> list[str]:
    """Command lines of the processes that belong to an instance, the zombies left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if int(entry.name) != os.getpid() and name in words:
            found.append(words.replace("\0", " "))
    return found


def traces(name: str) -> dict[str, list[str]]:
    """Everything outside a testbed that it could have left something in."""
    instance = Instance(name, CHECKOUT)
    return {
        "processes": processes_of(name),
        "namespaces": command_output("ip", "netns", "list"),
        "links": [line for line in command_output("ip", "-o", "link") if "lo:" not in line],
        "mounts": sorted(Path("/proc/self/mounts").read_text().splitlines()),
        "loop devices": command_output("losetup", "-a"),
        "files": [str(p) for p in (*RUN_ROOT.glob(f"{name}*"), instance.disk_dir) if p.exists()],
    }


class Lifecycle(unittest.TestCase):
    def setUp(self) -> None:
        self.testbed = self.named("a")
        self.before = traces(self.testbed.name)

    def named(self, letter: str) -> Testbed:
        testbed = Testbed(f"life-{os.getpid()}-{letter}")
        self.addCleanup(testbed.verb, "down", check=False)
        return testbed

    def assert_no_traces(self) -> None:
        wait_until("nothing is left", lambda: traces(self.testbed.name) == self.before, limit_s=10)

    def keeper_pid(self) -> int:
        return self.testbed.status()["keeper_pid"]

    def test_down_leaves_nothing_and_the_next_up_works_at_once(self) -> None:
        for _ in range(2):
            self.testbed.verb("up", *ONE_HOST)
            self.testbed.verb("cut", "h1", "client")
            self.testbed.verb("delay", "h1", "client", 10)
            self.testbed.verb("pause", "h1")
            left_running = self.testbed.spawn("client", "sleep", 1000)
            self.testbed.verb("down")
            left_running.communicate(timeout=10)
            self.assertEqual(traces(self.testbed.name), self.before)

    def test_a_testbed_ends_with_its_owner_however_that_ends(self) -> None:
        owner = subprocess.Popen(["sleep", "1000"])
        self.testbed.verb("up", *ONE_HOST, "--owner", owner.pid)
        owner.kill()
        owner.wait()
        self.assert_no_traces()

    def test_a_killed_keeper_takes_everything_with_it_and_the_next_up_cleans_its_files(self) -> None:
        self.testbed.verb("up", *ONE_HOST)
        os.kill(self.keeper_pid(), signal.SIGKILL)
        wait_until("no process is left", lambda: not processes_of(self.testbed.name), limit_s=10)
        self.testbed.verb("up", *NETWORK_ONLY)
        self.testbed.verb("down")
        self.assert_no_traces()

    def test_down_clears_the_files_of_a_killed_keeper(self) -> None:
        self.testbed.verb("up", *NETWORK_ONLY)
        os.kill(self.keeper_pid(), signal.SIGKILL)
        wait_until("no process is left", lambda: not processes_of(self.testbed.name), limit_s=10)
        self.testbed.verb("down")
        self.assert_no_traces()

    def test_an_interrupted_up_leaves_nothing(self) -> None:
        for signum in (signal.SIGINT, signal.SIGKILL):
            up = subprocess.Popen([str(PROGRAM), "--instance", self.testbed.name, "up", *ONE_HOST],
                                  stderr=subprocess.PIPE, text=True)  # fmt: skip
            self.assertIn("booting h1", up.stderr.readline())
            up.send_signal(signum)
            up.communicate(timeout=30)
            self.assertNotEqual(up.returncode, 0)
            self.assert_no_traces()

    def test_two_testbeds_do_not_meet_though_their_addresses_are_the_same(self) -> None:
        other = self.named("b")
        self.testbed.verb("up", *ONE_HOST)
        other.verb("up", *NETWORK_ONLY)
        self.assertTrue(self.testbed.reachable("client", "h1"))
        self.assertTrue(other.silent("client", "h1"))
        macs = [t.out("client", "cat /sys/class/net/svc/address; ip -o link show svc")
                for t in (self.testbed, other)]  # fmt: skip
        self.assertNotEqual(macs[0], macs[1])
        other.verb("down")
        self.assertTrue(self.testbed.reachable("client", "h1"))

    def test_one_instance_cannot_be_brought_up_twice_at_once(self) -> None:
        commands = [[str(PROGRAM), "--instance", self.testbed.name, "up", *NETWORK_ONLY]] * 3
        ups = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True) for c in commands]
        said = [up.communicate(timeout=60)[1] for up in ups]
        self.assertEqual(sorted(up.returncode for up in ups), [0, 1, 1], said)
        self.testbed.verb("up", "--reuse", *NETWORK_ONLY)
        refused = self.testbed.verb("up", "--reuse", *ONE_HOST, check=False)
        self.assertIn("another hosts", refused.stderr)


class Refusals(unittest.TestCase):
    def refused(self, hint: str, *words: str, program: list[str] | None = None, **env: str) -> None:
        name = f"life-{os.getpid()}-r"
        done = subprocess.run(
            [*(program or [str(PROGRAM)]), "--instance", name, *words],
            capture_output=True, text=True, env={**os.environ, **env},
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn(hint, done.stderr)
        self.assertEqual(traces(name)["files"], [])

    def test_a_testbed_that_is_not_up_says_how_to_start_it(self) -> None:
        for words in (["status"], ["run", "h1", "--", "true"], ["kill", "h1"], ["heal"], ["logs", "h1"]):
            self.refused("testbed up", *words)
        self.refused("is not up", "down")

    def test_too_little_memory_is_told_before_anything_is_made(self) -> None:
        self.refused("use fewer hosts", "up", "--hosts", "8", "--memory", "65536")

    def test_an_owner_that_does_not_live_is_refused(self) -> None:
        dead = subprocess.Popen(["true"])
        dead.wait()
        self.refused("--owner", "up", *NETWORK_ONLY, "--owner", str(dead.pid))

    def test_a_wrong_accelerator_is_refused(self) -> None:
        self.refused("FTVMM_TESTBED_ACCEL", "up", *NETWORK_ONLY, FTVMM_TESTBED_ACCEL="magic")

    def test_missing_tools_are_named_by_their_packages(self) -> None:
        # The same command, with a search path on which only Python is.
        with tempfile.TemporaryDirectory() as folder:
            program = ["unshare", "--mount", "sh", "-c",
                       f"mount --bind {folder} /usr/sbin; PATH=/nowhere exec $0 \"$@\"",
                       sys.executable, str(PROGRAM)]  # fmt: skip
            self.refused("install the packages", "up", *NETWORK_ONLY, program=program)

    def test_a_missing_image_is_told(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "tests/testbed")
            subprocess.run(["cp", "-r", str(PROGRAM.parent), folder + "/testbed"], check=True)
            copy.parent.mkdir()
            Path(folder, "testbed").rename(copy)
            self.refused("run `testbed build`", "up", program=[str(copy / "testbed")])

    def test_only_root_may(self) -> None:
        program = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                   "/usr/bin/env", "python3", str(PROGRAM)]  # fmt: skip
        if subprocess.run([*program[:6], "python3", "-c", "1"], capture_output=True).returncode:
            self.skipTest("nobody cannot run this machine's python3")
        self.refused("as root", "up", program=program)


if __name__ == "__main__":
    unittest.main()
