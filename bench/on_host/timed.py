#!/usr/bin/env python3
"""Runs one ftvmm and times it by what its guest prints.

usage: timed.py BEGIN END LIMIT_S LOG COMMAND...

The clock runs from BEGIN on standard output (or the start, where BEGIN is empty) to END.  A line "mark" is printed
at either, so that whoever reads them can look at a clock too, and a line of JSON behind the program's end, which also
says by how much the file LOG has grown.  A guest that goes on behind END for 20 s has its power taken.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

END_LIMIT_S = 20


class Timer:
    """What has been printed so far, and when the marks were."""

    def __init__(self, process: subprocess.Popen[bytes], begin: str, end: str, log: str) -> None:
        self._process = process
        self._wanted = [mark.encode() for mark in (begin, end)]
        self._log = log
        self._seen = b""
        self.at: list[float] = []
        self.log_bytes: list[int] = []
        self._take()

    def _take(self) -> None:
        while len(self.at) < 2 and self._wanted[len(self.at)] in self._seen:
            self.at.append(time.monotonic())
            self.log_bytes.append(os.stat(self._log).st_size if os.path.exists(self._log) else 0)
            print("mark", flush=True)

    def read_until(self, deadline: float, is_over) -> None:
        while time.monotonic() < deadline and not is_over():
            if not select.select([self._process.stdout], [], [], 0.2)[0]:
                continue
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                return
            self._seen = self._seen[-200:] + data
            self._take()


def main() -> None:
    begin, end, limit_s, log, *command = sys.argv[1:]
    errors = tempfile.TemporaryFile()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    timer = Timer(process, begin, end, log)
    timer.read_until(time.monotonic() + float(limit_s), lambda: len(timer.at) == 2)
    timer.read_until(time.monotonic() + END_LIMIT_S, lambda: False)
    for _ in range(2):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
    try:
        code = process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    errors.seek(0)
    found = {"code": code, "said": errors.read().decode(errors="replace")}
    if len(timer.at) == 2:
        found["wall_s"] = timer.at[1] - timer.at[0]
        found["log_bytes"] = timer.log_bytes[1] - timer.log_bytes[0]
    print(json.dumps(found))


main()
