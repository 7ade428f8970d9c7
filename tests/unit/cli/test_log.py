"""`ftvmm log` as its users call it, with the golden log of the format."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

FTVMM = os.environ["FTVMM"]
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "log-v1"
RECORDS = 21


def ftvmm(*arguments):
    return subprocess.run([FTVMM, "log", *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Log(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "vm.log"

    def test_a_whole_log_is_whole(self):
        process = ftvmm("verify", GOLDEN)
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        self.assertEqual(process.stdout, f"{GOLDEN}: the log is whole, with {RECORDS} records\n")

    def test_show_prints_each_record_or_those_that_are_asked_for(self):
        process = ftvmm("show", GOLDEN)
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        lines = process.stdout.splitlines()
        self.assertEqual([int(line.split()[0]) for line in lines], list(range(RECORDS)))
        some = ftvmm("show", GOLDEN, "--from", 5, "--count", 3)
        self.assertEqual(some.stdout.splitlines(), lines[5:8])
        objects = [json.loads(line) for line in ftvmm("show", GOLDEN, "--json").stdout.splitlines()]
        self.assertEqual([entry["seq"] for entry in objects], list(range(RECORDS)))

    def test_stat_counts_records_in_text_and_json(self):
        process = ftvmm("stat", GOLDEN)
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        self.assertIn(f"{RECORDS} records in 3 batches", process.stdout)
        stat = json.loads(ftvmm("stat", "--json", GOLDEN).stdout)
        self.assertEqual(stat["records"], RECORDS)
        self.assertEqual(sum(kind["records"] for kind in stat["kinds"].values()), RECORDS)
        self.assertEqual(stat["file_bytes"], GOLDEN.stat().st_size)

    def test_a_log_that_is_cut_off_is_shown_up_to_there_and_the_place_is_named(self):
        self.path.write_bytes(GOLDEN.read_bytes()[:400])
        for verb in ("stat", "show", "verify"):
            process = ftvmm(verb, self.path)
            self.assertEqual(process.returncode, 1, verb)
            self.assertIn("the log is torn: its writer was stopped in a batch at byte 333", process.stderr)
            self.assertEqual(len(process.stderr.splitlines()), 1)
        self.assertEqual(len(ftvmm("show", self.path).stdout.splitlines()), 7)
        self.assertEqual(ftvmm("verify", self.path).stdout, "")
        verdict = json.loads(ftvmm("verify", "--json", self.path).stdout)
        self.assertEqual((verdict["tail"]["kind"], verdict["tail"]["offset"]), ("torn", 333))

    def test_a_log_whose_bytes_have_changed_is_damaged(self):
        content = bytearray(GOLDEN.read_bytes())
        content[-1] ^= 1
        self.path.write_bytes(content)
        process = ftvmm("verify", self.path)
        self.assertEqual((process.returncode, process.stdout), (1, ""))
        self.assertIn("the checksum of a batch's payload is wrong", process.stderr)

    def test_what_is_no_log_cannot_be_read(self):
        self.path.write_text("no log, but longer than a header's first bytes\n")
        for verb in ("stat", "show", "verify"):
            process = ftvmm(verb, self.path)
            self.assertEqual((process.returncode, process.stdout), (2, ""))
            self.assertIn(f"ftvmm log {verb}: {self.path}: it is no log of a VM; give a file", process.stderr)
        process = ftvmm("verify", self.path.with_name("none"))
        self.assertEqual(process.returncode, 2)
        self.assertIn("No such file", process.stderr)


if __name__ == "__main__":
    unittest.main()
