"""`ftvmm status` as its users call it."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

FTVMM = os.environ["FTVMM"]


def ftvmm(*arguments):
    return subprocess.run([FTVMM, *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Status(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "web1.sock"

    def listen(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(self.path))
        listener.listen()
        return listener

    def answer(self, document, times):
        """A run that says this."""
        listener = self.listen()

        def work():
            for _ in range(times):
                client, _ = listener.accept()
                client.sendall(document.encode())
                client.close()

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)

    def refused(self, *arguments, code=1):
        done = ftvmm("status", *arguments)
        self.assertEqual((done.returncode, done.stdout), (code, ""))
        self.assertEqual(done.stderr.count("\n"), 1)
        return done.stderr

    def test_a_vm_is_told_in_lines_or_as_the_document_it_gave(self):
        document = json.dumps({"name": "web1", "uuid": "-", "role": "primary", "host": "node1", "protection": "protected"})
        self.answer(document, 2)
        told = ftvmm("status", self.path)
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        self.assertIn("primary, on node1", told.stdout)
        told = ftvmm("status", self.path, "--json")
        self.assertEqual((told.returncode, told.stdout), (0, document))

    def test_a_vm_that_is_not_here(self):
        self.assertIn("no VM web1 runs on this host", self.refused(self.path))
        self.assertIn("no VM no-such-vm runs on this host", self.refused("no-such-vm"))

    def test_a_dead_socket_is_said_to_be_one(self):
        self.listen().close()
        self.assertIn("its run is gone", self.refused(self.path))

    def test_a_run_that_does_not_answer_is_waited_for_no_longer_than_a_second(self):
        self.listen()
        self.assertIn("does not answer", self.refused(self.path, "--json"))

    def test_what_is_neither_a_name_nor_a_path(self):
        self.assertIn("neither", self.refused("Web_1", code=2))


if __name__ == "__main__":
    unittest.main()
