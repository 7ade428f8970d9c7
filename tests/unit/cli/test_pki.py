"""ftvmm pki, as its users call it."""

import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path


def ftvmm(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["FTVMM"], "pki", *words], capture_output=True, text=True, timeout=60)


class Pki(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.ca = f"{folder.name}/ca"

    def ok(self, *words: str) -> str:
        done = ftvmm(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, *words: str) -> str:
        done = ftvmm(*words)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.count("\n"), 1)
        return done.stderr

    def test_an_authority_and_its_hosts_are_made_and_shown(self):
        self.assertIn("ftvmm pki issue", self.ok("init", self.ca, "--name", "lab"))
        self.assertIn("copy this folder to node1", self.ok("issue", self.ca, "--host", "node1"))
        shown = self.ok("show", self.ca)
        for part in ("the cluster's authority", "CN=lab", "host node1", "1825 days left"):
            self.assertIn(part, shown)
        self.assertIn("host node1", self.ok("show", f"{self.ca}/hosts/node1/host.crt"))
        self.assertIn("host node1", self.ok("show", f"{self.ca}/hosts/node1"))
        for key in ("ca.key", "hosts/node1/host.key"):
            self.assertEqual(stat.S_IMODE((Path(self.ca) / key).stat().st_mode), 0o600)

    def test_nothing_is_replaced_without_force(self):
        self.ok("init", self.ca)
        self.ok("issue", self.ca, "--host", "a")
        key = Path(f"{self.ca}/hosts/a/host.key").read_text()
        self.assertIn("--force", self.refused("init", self.ca))
        self.assertIn("--force", self.refused("issue", self.ca, "--host", "a"))
        self.assertEqual(Path(f"{self.ca}/hosts/a/host.key").read_text(), key)
        self.ok("issue", self.ca, "--host", "a", "--force")
        self.assertNotEqual(Path(f"{self.ca}/hosts/a/host.key").read_text(), key)
        self.assertIn(f"{self.ca}.old-", self.ok("init", self.ca, "--force"))

    def test_what_can_not_be_made_is_said_in_one_line(self):
        self.assertIn("ftvmm pki init", self.refused("issue", self.ca, "--host", "a"))
        self.ok("init", self.ca)
        self.assertIn("no address", self.refused("issue", self.ca, "--host", "192.0.2.1"))
        self.assertIn("no name for a cluster", self.refused("init", self.ca + "2", "--name", "a/b"))
        self.assertIn("No such file", self.refused("show", self.ca + "2"))

    def test_a_certificate_for_some_days_is_pointed_out(self):
        self.ok("init", self.ca, "--days", "40")
        self.ok("issue", self.ca, "--host", "a", "--days", "3")
        self.assertRegex(self.ok("show", f"{self.ca}/hosts/a/host.crt"), "only [23] days left")
        self.assertNotEqual(ftvmm("issue", self.ca, "--host", "b", "--days", "0").returncode, 0)


if __name__ == "__main__":
    unittest.main()
