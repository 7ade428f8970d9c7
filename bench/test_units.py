#!/usr/bin/env python3
"""The benchmark's parts that need no host."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "on_host")]
from counters import difference  # noqa: E402
from ftvmm_bench import initrd, report  # noqa: E402

BY_KEY = {metric.key: metric for metric in report.METRICS}


def runs(key: str, **figures: list[float]) -> report.Runs:
    return {vmm.replace("_", "+"): [{key: value} for value in values] for vmm, values in figures.items()}


class Judging(unittest.TestCase):
    def test_a_rate_is_held_against_the_better_rival_and_not_against_vhost(self) -> None:
        verdict = report.judge(BY_KEY["to guest"], runs("to guest", ftvmm=[90], microvm=[80], pc=[100], pc_vhost=[500]))
        self.assertEqual(verdict.ratio, 0.9)
        self.assertTrue(verdict.met)

    def test_a_round_trip_is_held_against_the_shorter_one(self) -> None:
        self.assertFalse(report.judge(BY_KEY["round trip"], runs("round trip", ftvmm=[11], microvm=[10], pc=[20])).met)
        self.assertTrue(report.judge(BY_KEY["round trip"], runs("round trip", ftvmm=[10], microvm=[10], pc=[20])).met)

    def test_start_to_init_is_held_against_microvm_alone(self) -> None:
        self.assertTrue(report.judge(BY_KEY["boot"], runs("boot", ftvmm=[9], microvm=[10], pc=[1])).met)
        self.assertFalse(report.judge(BY_KEY["boot"], runs("boot", ftvmm=[9.5], microvm=[10], pc=[20])).met)

    def test_one_odd_run_moves_no_median(self) -> None:
        found = runs("read 4k", ftvmm=[100, 1, 100], microvm=[100, 100, 9999])
        self.assertEqual(report.judge(BY_KEY["read 4k"], found).ratio, 1)

    def test_without_a_rival_there_is_no_verdict(self) -> None:
        self.assertIsNone(report.judge(BY_KEY["read 4k"], runs("read 4k", ftvmm=[1], pc_vhost=[1])).met)

    def test_the_table_says_what_was_missed(self) -> None:
        lines = report.table(runs("boot", ftvmm=[10], microvm=[10])).splitlines()
        self.assertEqual(lines[1].split()[-1], "NO")


class Initrd(unittest.TestCase):
    def test_an_archive_has_the_length_and_the_names_that_its_heads_say(self) -> None:
        data = initrd.archive({"a": (0o100644, b"12345"), "bc/d": (0o100755, b"")})
        names, at = [], 0
        while names[-1:] != ["TRAILER!!!"]:
            self.assertEqual(data[at : at + 6], b"070701")
            size, name_size = (int(data[at + 6 + 8 * field :][:8], 16) for field in (6, 11))
            names.append(data[at + 110 :][: name_size - 1].decode())
            at += (110 + name_size + 3) // 4 * 4 + (size + 3) // 4 * 4
        self.assertEqual(names, ["a", "bc/d", "TRAILER!!!"])
        self.assertEqual(at, len(data))


class Counters(unittest.TestCase):
    def test_a_counter_that_has_appeared_counts_from_nothing(self) -> None:
        self.assertEqual(difference({"exits": 3}, {"exits": 5, "io_exits": 2}), {"exits": 2, "io_exits": 2})


if __name__ == "__main__":
    unittest.main()
