#!/usr/bin/env python3
"""The benchmark's parts that need no host."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "on_host"),
                *(str(HERE.parent / "tests" / folder) for folder in ("testbed", "guest-image"))]  # fmt: skip
from counters import difference  # noqa: E402
from ftvmm_bench import initrd, pair, record, report  # noqa: E402

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


class Recording(unittest.TestCase):
    WORK = record.workloads(1)["compute"]

    @staticmethod
    def run_of(kind: str, wall_s: float, preset: str = "release") -> dict:
        log = {"payload_bytes": 4096, "file_bytes": 1024}
        return {"kind": kind, "preset": preset, "wall_s": wall_s, "cpu_s": wall_s, "code": 0, "said": "late tick 1\n",
                "log_bytes": 10240, "log": log}  # fmt: skip

    def test_a_ratio_is_that_of_neighbours_so_a_slow_stretch_moves_none(self) -> None:
        runs = [self.run_of(kind, wall * slow) for slow in (1, 3, 1)
                for kind, wall in (("run", 10), ("record", 10.8))]  # fmt: skip
        text, met = record.summarize(self.WORK, runs, "release")
        self.assertIn("ratio 1.08", text)
        self.assertIn("late tick 1", text)
        self.assertTrue(met)

    def test_a_missed_target_and_a_replay_that_disagrees_are_told(self) -> None:
        runs = [self.run_of("run", 10), self.run_of("record", 13), self.run_of("replay", 5) | {"code": 5}]
        text, met = record.summarize(self.WORK, runs, "release")
        self.assertFalse(met)
        self.assertIn("0 of 1 agree", text)

    def test_the_marks_are_not_in_the_command_line_that_a_kernel_prints(self) -> None:
        self.assertNotIn(record.BEGIN, self.WORK.toml())


class Counters(unittest.TestCase):
    def test_a_counter_that_has_appeared_counts_from_nothing(self) -> None:
        self.assertEqual(difference({"exits": 3}, {"exits": 5, "io_exits": 2}), {"exits": 2, "io_exits": 2})


class Pairs(unittest.TestCase):
    @staticmethod
    def found(work: str, alone: list[float], protected: list[float]) -> list[dict]:
        return ([{"workload": work, "protected": False, "rate": rate} for rate in alone]
                + [{"workload": work, "protected": True, "rate": rate, "log_mbit_s": 2.5} for rate in protected])  # fmt: skip

    def test_neighbours_are_held_against_each_other(self) -> None:
        # A machine that became ten times slower in between.
        text, met = pair.table(self.found("compile", [10, 1, 10], [9.8, 0.98, 9.8]))
        self.assertIn("| compile | 10.00 | 9.80 | 0.98 | 0.95 | 2.50 |", text)
        self.assertTrue(met)

    def test_a_missed_target_is_told(self) -> None:
        text, met = pair.table(self.found("http", [10], [8.9]))
        self.assertIn("0.89 (missed)", text)
        self.assertFalse(met)

    def test_the_seconds_of_a_command_are_found_in_what_it_says(self) -> None:
        self.assertEqual(pair.seconds_of("made\nreal 12.50\nuser 3.00\n"), 12.5)


if __name__ == "__main__":
    unittest.main()
