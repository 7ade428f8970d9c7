#!/usr/bin/env python3
"""ftvmm on a host's real KVM: the small guests and the doctor, with nested paging and without.

Needs root and a built image.  Here nothing may be skipped: a host that cannot run a guest is a failure.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire  # noqa: E402

# Where hosts see the binaries that are tested: /build is the checkout's build folder.
BINARIES = f"/build/{os.environ.get('FTVMM_PRESET', 'dev')}"
GUESTS = 17

tb: Testbed


def setUpModule() -> None:
    global tb
    tb = acquire("--hosts", "1", "--no-nfs")


def tearDownModule() -> None:
    tb.release()


class Kvm:
    """The host's KVM module, and its switch for paging in hardware."""

    def __init__(self) -> None:
        amd = tb.out("h1", "grep -c -w svm /proc/cpuinfo || true") != "0"
        self.module, self.switch = ("kvm_amd", "npt") if amd else ("kvm_intel", "ept")

    def unload(self) -> None:
        tb.out("h1", f"modprobe -r {self.module}")

    def load(self, nested_paging: int) -> None:
        tb.out("h1", f"modprobe -r {self.module} && modprobe {self.module} {self.switch}={nested_paging}")


class OnKvm(unittest.TestCase):
    """Leaves the host's KVM as it was."""

    def setUp(self) -> None:
        self.kvm = Kvm()
        self.addCleanup(self.kvm.load, 1)


class SmallGuests(OnKvm):

    def assert_all_guests_pass(self) -> None:
        done = tb.run("h1", f"{BINARIES}/guests", "--require-kvm", "all", check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("passed: "), GUESTS, done.stdout)

    def test_all_pass_with_nested_paging(self) -> None:
        self.kvm.load(1)
        self.assert_all_guests_pass()

    def test_all_pass_with_shadow_paging(self) -> None:
        self.kvm.load(0)
        parameter = f"/sys/module/{self.kvm.module}/parameters/{self.kvm.switch}"
        self.assertIn(tb.out("h1", f"cat {parameter}"), ("0", "N"))
        self.assert_all_guests_pass()

    def test_a_host_without_kvm_fails_them_and_does_not_skip(self) -> None:
        self.kvm.unload()
        done = tb.run("h1", f"{BINARIES}/guests", "--require-kvm", "all", check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("load kvm_amd", done.stdout)


class Doctor(OnKvm):
    def report(self, wanted_exit_code: int) -> dict:
        done = tb.run("h1", f"{BINARIES}/ftvmm", "doctor", "--json", check=False)
        self.assertEqual(done.returncode, wanted_exit_code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_it_names_the_module_and_finds_lockstep_possible(self) -> None:
        for nested_paging in (1, 0):
            self.kvm.load(nested_paging)
            report = self.report(wanted_exit_code=0)
            detail = f"{self.kvm.module}, {self.kvm.switch}={nested_paging}"
            self.assertEqual(report["kvm"]["detail"], detail)
            self.assertTrue(report["jobs"]["lockstep"]["possible"])

    def test_it_finds_no_more_than_an_emulated_host_has(self) -> None:
        if tb.status()["shape"]["nested_kvm"]:
            self.skipTest("the hosts are not emulated")
        abilities = self.report(wanted_exit_code=0)["abilities"]
        missing = {name for name, ability in abilities.items() if not ability["works"]}
        self.assertEqual(missing, {"hardware_breakpoints", "tsc_control", "branch_counter"})

    def test_it_says_what_to_do_where_kvm_is_not_loaded(self) -> None:
        self.kvm.unload()
        done = tb.run("h1", f"{BINARIES}/ftvmm", "doctor", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("load kvm_amd", done.stderr)


if __name__ == "__main__":
    unittest.main()
