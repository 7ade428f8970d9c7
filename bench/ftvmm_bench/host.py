"""The testbed's host as the benchmark sees it: on_host/host.py at the other end of a pipe."""

from __future__ import annotations

import json
from pathlib import Path

from ftvmm_bench import initrd
from harness import Testbed

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "build" / "guest-images"
WORK = "/var/tmp/ftvmm-bench"  # on_host/vmms.py's
HOST, CLIENT = "h1", "client"
SCRATCH_MIB = 256


class HostError(Exception):
    """The host could not do what was asked.  The message says what and why."""


class Host:
    """Prepared for measurements.  `close` ends the VMM that may still run."""

    def __init__(self, testbed: Testbed, disk: str) -> None:
        self._testbed = testbed
        testbed.verb("bridge", HOST)
        testbed.run(HOST, "mkdir", "-p", WORK)
        made = ROOT / "build" / "bench-initrd"
        initrd.make(IMAGES / "quick" / "initrd.img", IMAGES / "cloud" / "disk.img", made)
        here = Path(__file__).resolve().parents[1]
        programs = [*sorted((here / "on_host").iterdir()), here / "pingpong.py",
                    ROOT / "tests" / "guest-image" / "agent.py"]  # fmt: skip
        testbed.verb("push", HOST, *(p for p in programs if p.is_file()), f"{WORK}/")
        testbed.run(HOST, "cp", "/build/bench-initrd", f"{WORK}/initrd")
        testbed.run(HOST, "cp", "/build/guest-images/quick/vmlinuz", f"{WORK}/vmlinuz")
        done = testbed.run(HOST, f"{WORK}/prepare", "/build/guest-images/cloud/disk.img", disk, SCRATCH_MIB)
        self.scratch = done.stdout.strip()
        self._process = testbed.spawn(HOST, "python3", "-B", f"{WORK}/host.py")

    def ask(self, do: str, **arguments: object) -> dict:
        """One request of on_host/host.py's."""
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise HostError(f"the host's side of the benchmark ended: {self._process.stderr.read()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise HostError(f"{do}: {answer['error']}")
        return answer

    def guest(self, script: str, limit_s: float = 120) -> dict:
        """A shell script in the guest: its output, and what it has cost.  A failure raises."""
        answer = self.ask("guest", script=script, limit_s=limit_s)
        if answer["code"] != 0:
            raise HostError(f"in the guest, {script!r} ended with {answer['code']}: {answer['output'][-2000:]}")
        return answer

    def client(self, *command: object, limit_s: float = 120) -> str:
        """What a command prints on the client, a machine beside the host."""
        done = self._testbed.run(CLIENT, *command, check=False, timeout=limit_s)
        if done.returncode != 0:
            raise HostError(f"on the client, {command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def put_into_guest(self, file: Path, path: str) -> None:
        # In an unquoted heredoc nothing of the file would survive; quoted, all does.
        self.guest(f"cat > {path} <<'END OF FILE'\n{file.read_text()}END OF FILE")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
