"""`ftvmm create` and `ftvmm config check` as their users call them."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

FTVMM = os.environ["FTVMM"]


def ftvmm(*arguments):
    return subprocess.run([FTVMM, *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Config(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_what_create_writes_is_fine_and_each_file_is_another_vm(self):
        found = set()
        for name in ("web1", "web2"):
            process = ftvmm("create", name, "--dir", self.folder)
            self.assertEqual((process.returncode, process.stderr), (0, ""))
            path = self.folder / f"{name}.toml"
            self.assertIn(str(path), process.stdout)
            check = ftvmm("config", "check", path)
            self.assertEqual((check.returncode, check.stdout, check.stderr), (0, f"{path} is fine\n", ""))
            found |= set(re.findall(r'^(?:uuid|mac) = "(.*)"', path.read_text(), re.MULTILINE))
        self.assertEqual(len(found), 4)

    def test_create_never_overwrites(self):
        path = self.folder / "web1.toml"
        path.write_text("mine")
        process = ftvmm("create", "web1", "--dir", self.folder)
        self.assertEqual((process.returncode, process.stdout), (1, ""))
        self.assertIn("choose another name", process.stderr)
        self.assertEqual(path.read_text(), "mine")

    def test_create_refuses_a_name_that_is_none_and_a_folder_that_is_not_there(self):
        process = ftvmm("create", "../web1", "--dir", self.folder)
        self.assertEqual(process.returncode, 1)
        self.assertIn("a-z, 0-9 and -", process.stderr)
        process = ftvmm("create", "web1", "--dir", self.folder / "none")
        self.assertEqual(process.returncode, 1)
        self.assertIn("No such file", process.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_check_tells_every_problem_on_a_line_of_its_own(self):
        path = self.folder / "vm.toml"
        path.write_text('name = "web1"\nmemory = "2 GiB"\nkernal = "vmlinuz"\n')
        process = ftvmm("config", "check", path)
        self.assertEqual((process.returncode, process.stdout), (1, ""))
        lines = process.stderr.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertTrue(all(line.startswith(f"{path}:") for line in lines), lines)
        self.assertIn(f'{path}:3:1: the file has no key "kernal"; did you mean kernel?', lines)

    def test_check_of_no_file(self):
        process = ftvmm("config", "check", self.folder / "none.toml")
        self.assertEqual(process.returncode, 1)
        self.assertEqual(process.stderr, f"{self.folder}/none.toml: No such file or directory\n")


if __name__ == "__main__":
    unittest.main()
