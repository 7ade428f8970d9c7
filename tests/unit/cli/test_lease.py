"""`ftvmm lease` as its users call it."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

FTVMM = os.environ["FTVMM"]


def ftvmm(*arguments):
    return subprocess.run([FTVMM, *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Lease(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.shared = self.folder / "shared"
        self.shared.mkdir()
        self.assertEqual(ftvmm("create", "web1", "--dir", self.folder).returncode, 0)
        self.config = self.folder / "web1.toml"
        self.alone = self.config.read_text()
        self.config.write_text(self.alone + f'\n[ft]\nshared = "{self.shared}"\n')

    def refused(self, verb):
        done = ftvmm("lease", verb, self.config)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr.count("\n"), 1)
        return done.stderr

    def test_a_vm_that_never_ran(self):
        shown = ftvmm("lease", "show", self.config)
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertIn("the VM has never run", shown.stdout)
        self.assertEqual(json.loads(ftvmm("lease", "show", "--json", self.config).stdout)["generation"], 0)
        history = ftvmm("lease", "history", "--json", self.config)
        self.assertEqual(json.loads(history.stdout)["generations"], [])
        self.assertEqual(list(self.shared.iterdir()), [])

    def test_damage_is_told_and_the_exit_code_says_it(self):
        (self.shared / "gen-1").write_text("torn")
        for verb in ("show", "history"):
            done = ftvmm("lease", verb, self.config)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"ftvmm lease {verb}: gen-1: it does not begin with", done.stderr)

    def test_what_can_not_be_told_is_said_in_one_line(self):
        for verb in ("show", "history"):
            self.shared.rmdir()
            self.assertIn("mount the storage", self.refused(verb))
            self.assertFalse(self.shared.exists())
            self.shared.mkdir()
        self.config.write_text(self.alone)
        self.assertIn("has no [ft]", self.refused("show"))
        self.config.unlink()
        self.assertIn("No such file", self.refused("show"))


if __name__ == "__main__":
    unittest.main()
