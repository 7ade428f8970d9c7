#!/usr/bin/env python3
"""ftvmm on a host's real kvm_amd: the small guests and the doctor, with nested paging and without.

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
GUESTS = 11

tb: Testbed


def setUpModule() -> None:
    global tb
    tb = acquire("--hosts", "1", "--no-nfs")


def tearDownModule() -> None:
    tb.release()


def load_kvm(npt: int) -> None:
    tb.out("h1", f"modprobe -r kvm_amd && modprobe kvm_amd npt={npt}")


class SmallGuests(unittest.TestCase):
    def tearDown(self) -> None:
        load_kvm(npt=1)

    def assert_all_guests_pass(self) -> None:
        done = tb.run("h1", f"{BINARIES}/guests", "--require-kvm", "all", check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("passed: "), GUESTS, done.stdout)

    def test_all_pass_with_nested_paging(self) -> None:
        load_kvm(npt=1)
        self.assert_all_guests_pass()

    def test_all_pass_with_shadow_paging(self) -> None:
        load_kvm(npt=0)
        self.assertIn(tb.out("h1", "cat /sys/module/kvm_amd/parameters/npt"), ("0", "N"))
        self.assert_all_guests_pass()

    def test_a_host_without_kvm_fails_them_and_does_not_skip(self) -> None:
        tb.out("h1", "modprobe -r kvm_amd")
        done = tb.run("h1", f"{BINARIES}/guests", "--require-kvm", "all", check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("load kvm_amd", done.stdout)


class Doctor(unittest.TestCase):
    def report(self, wanted_exit_code: int) -> dict:
        done = tb.run("h1", f"{BINARIES}/ftvmm", "doctor", "--json", check=False)
        self.assertEqual(done.returncode, wanted_exit_code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_it_finds_svm_and_lockstep_possible(self) -> None:
        for npt in (1, 0):
            load_kvm(npt)
            report = self.report(wanted_exit_code=0)
            self.assertEqual(report["kvm"]["detail"], f"kvm_amd, npt={npt}")
            self.assertTrue(report["jobs"]["lockstep"]["possible"])
        load_kvm(npt=1)

    def test_it_says_what_to_do_where_kvm_is_not_loaded(self) -> None:
        tb.out("h1", "modprobe -r kvm_amd")
        done = tb.run("h1", f"{BINARIES}/ftvmm", "doctor", check=False)
        load_kvm(npt=1)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("load kvm_amd", done.stderr)


if __name__ == "__main__":
    unittest.main()
