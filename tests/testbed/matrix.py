#!/usr/bin/env python3
"""The failure matrix: every event of test_takeover.py, again and again, and one table of what came of it.

    tests/testbed/matrix.py --times 5 --in-a-row 30 --table build/matrix.md [WORD...]

Events whose names have one of the WORDs, or all; a line for each run as it ends.  The exit code is 0 only if nothing
failed.  Needs what test_takeover.py needs.  30 runs an hour, about.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

PARTS = ("records", "the last promise", "the election", "disks and cards", "start")


class Progress(unittest.TestResult):
    """Says how each run ended, as it ends."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.runs, self.begun_at = runs, time.monotonic()
        self.outcomes: dict[str, list[bool]] = {}

    def _ended(self, test: unittest.TestCase, good: bool, why: str = "") -> None:
        self.outcomes.setdefault(test.id().split(".", 1)[-1], []).append(good)
        minutes = (time.monotonic() - self.begun_at) / 60
        print(f"[{self.testsRun}/{self.runs}, {minutes:.0f} min] {'ok    ' if good else 'FAILED'} {test.id()}{why}", flush=True)

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._ended(test, True)

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        super().addFailure(test, err)
        self._ended(test, False, f"\n{self.failures[-1][1]}")

    def addError(self, test: unittest.TestCase, err: object) -> None:
        super().addError(test, err)
        self._ended(test, False, f"\n{self.errors[-1][1]}")


def tests_of(words: list[str]) -> list[unittest.TestCase]:
    import test_takeover

    suites = unittest.defaultTestLoader.loadTestsFromModule(test_takeover)
    found = [test for suite in suites for test in suite]
    return [test for test in found if not words or any(word in test.id() for word in words)]


def middle_and_most(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} / {max(values):.0f}"


def table(outcomes: dict[str, list[bool]], gaps: list[tuple[str, float, str]]) -> str:
    """Markdown.  Times in ms: the median, and the longest."""
    lines = ["| what happens | times | the client hears nothing | the takeover | " + " | ".join(PARTS) + " |",
             "|" + " --- |" * (4 + len(PARTS))]  # fmt: skip
    by_event: dict[str, list[tuple[float, str]]] = {}
    for event, gap_ms, takeover in gaps:
        by_event.setdefault(re.sub(r"^failover \d+", "failover", event), []).append((gap_ms, takeover))
    for event, runs in by_event.items():
        took = [takeover for _, takeover in runs if takeover]
        cells = [event, str(len(runs)), middle_and_most([gap_ms for gap_ms, _ in runs])]
        for part in ("the takeover took", *PARTS):
            values = [float(re.search(rf"{part} (\d+)", takeover)[1]) for takeover in took]
            cells.append(middle_and_most(values) if values else "")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| test | runs | good |", "| --- | --- | --- |"]
    lines += [f"| {test} | {len(runs)} | {sum(runs)} |" for test, runs in sorted(outcomes.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--times", type=int, default=5, help="how often each event comes (5)")
    parser.add_argument("--in-a-row", type=int, default=30, help="how often the VM changes hosts in a row, once (30)")
    parser.add_argument("--table", type=Path, help="where the table goes, beside standard output")
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of the names of tests")
    options = parser.parse_args()
    os.environ["FTVMM_FAILOVERS"] = str(options.in_a_row)
    tests = tests_of(options.words)
    if not tests:
        parser.error("no test has such a name")
    import test_takeover

    once = [test for test in tests if "again_and_again" in test.id()]
    often = [test for test in tests if test not in once]
    runs = [type(test)(test._testMethodName) for _ in range(options.times) for test in often] + once
    progress = Progress(len(runs))
    unittest.TestSuite(runs).run(progress)
    if progress.testsRun == 0:  # Of the module's own set-up.
        print("".join(text for _, text in progress.errors), file=sys.stderr)
    made = table(progress.outcomes, test_takeover.gaps)
    print(made, end="")
    if options.table:
        options.table.write_text(made)
    return 0 if progress.wasSuccessful() and progress.testsRun == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
