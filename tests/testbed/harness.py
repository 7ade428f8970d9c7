"""The testbed as tests see it: the same verbs, through the same command.

A test module calls `acquire()` once.  It uses the testbed named by FTVMM_TESTBED when that one is up;
else it brings one up, owned by this process, so that it ends with it however that happens.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent / "testbed"


class Testbed:
    """One testbed.  Every call is one verb; a verb that fails raises unless `check` is False."""

    __test__ = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.mine = False  # brought up by this process

    def verb(
        self, *words: object, check: bool = True, stdin: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(PROGRAM), "--instance", self.name, *map(str, words)],
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"testbed {' '.join(map(str, words))}: {done.returncode}\n{done.stderr}")
        return done

    def run(self, host: str, *command: object, **options) -> subprocess.CompletedProcess[str]:
        """A command on a member.  The result has its exit code, stdout and stderr."""
        return self.verb("run", host, "--", *command, **options)

    def out(self, host: str, script: str) -> str:
        """What a shell script on a member prints."""
        return self.run(host, "sh", "-c", script).stdout.strip()

    def spawn(self, host: str, *command: object) -> subprocess.Popen[str]:
        """A command on a member that goes on while the test does other things."""
        return subprocess.Popen(
            [str(PROGRAM), "--instance", self.name, "run", host, "--", *map(str, command)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def status(self) -> dict:
        return json.loads(self.verb("status", "--json").stdout)

    def state(self, host: str) -> str:
        return self.status()["machines"][host]["state"]

    def reachable(self, source: str, target: str) -> bool:
        """Whether a ping comes back.  Patient: after a cut, ARP asks again only once a second."""
        done = self.run(source, "ping", "-c", 3, "-i", 0.2, "-W", 4, target, check=False)
        return done.returncode == 0

    def silent(self, source: str, target: str) -> bool:
        """Whether none of some pings comes back within a second."""
        done = self.run(source, "ping", "-c", 3, "-i", 0.2, "-W", 1, target, check=False)
        return done.returncode == 1

    def release(self) -> None:
        if self.mine:
            self.verb("down")


def acquire(*shape: str) -> Testbed:
    """The running testbed that FTVMM_TESTBED names, else a new one."""
    named = os.environ.get("FTVMM_TESTBED")
    if named and Testbed(named).verb("status", check=False).returncode == 0:
        return Testbed(named)
    testbed = Testbed(named or f"test-{os.getpid()}")
    testbed.mine = True
    testbed.verb("up", "--owner", os.getpid(), *shape)
    return testbed


def wait_until(what: str, condition: Callable[[], bool], limit_s: float = 30, every_s: float = 0.1) -> None:
    """Polls until `condition` holds; fails, saying `what` did not come true, after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what}")
        time.sleep(every_s)
