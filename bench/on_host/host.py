#!/usr/bin/env python3
"""The host's side of the benchmark: starts a VMM, times it, runs commands in its guest.

Requests are lines of JSON on standard input, {"do": NAME, ...}; each is answered with one line of JSON on
standard output, {"error": TEXT} where it failed.  It ends, and the VMM with it, at the end of its input.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent import Console, ConsoleAgent, ConsoleError
from counters import difference, overhead_kib, snapshot
from vmms import AGENT, MEMORY_MIB, RUN, SERIAL, command

BOOT_LIMIT_S = 90
AGENT_LIMIT_S = 40  # after init
CONNECT_EVERY_S = 0.01


class Vm:
    """One VMM with its guest."""

    def __init__(self, vmm: str, **options: str) -> None:
        for path in (SERIAL, AGENT):
            path.unlink(missing_ok=True)
        self.vmm = vmm
        words = command(vmm, **options)
        self.errors = RUN / f"{vmm}.stderr"
        with self.errors.open("wb") as errors:
            self.started = time.monotonic()
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def boot(self, marker: str) -> dict:
        """Waits for init, which prints `marker`, and for the agent.  Times are since the VMM's start."""
        serial = self._connect(Console, SERIAL)
        serial.wait_for(marker, BOOT_LIMIT_S)
        init_s = time.monotonic() - self.started
        booted = snapshot(self.process.pid)
        self.agent = self._connect(ConsoleAgent, AGENT)
        self.agent.ready(AGENT_LIMIT_S)
        ready_s = time.monotonic() - self.started
        return {"init_s": init_s, "ready_s": ready_s, "cost": booted, **self.memory()}

    def _connect(self, kind: Callable, where: Path) -> Console:
        while True:
            try:
                return kind(where)
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the VMM ended: {self.errors.read_text()[-2000:]}") from None
                if time.monotonic() > self.started + BOOT_LIMIT_S:
                    raise
                time.sleep(CONNECT_EVERY_S)

    def guest(self, script: str, limit_s: float) -> dict:
        begun = self.begin()
        code, output = self.agent.run(script, limit_s)
        return {"code": code, "output": output, "cost": self.cost_since(begun)}

    def begin(self) -> dict[str, float]:
        return snapshot(self.process.pid) | {"seconds": time.monotonic()}

    def cost_since(self, begun: dict[str, float]) -> dict[str, float]:
        return difference(begun, self.begin())

    def memory(self) -> dict:
        return {"overhead_kib": overhead_kib(self.process.pid, MEMORY_MIB)}

    def stop(self) -> str:
        """Ends the VMM; what it has said on standard error.  A second SIGTERM takes ftvmm's guest its power."""
        if self.vmm == "ftvmm":
            self.process.send_signal(signal.SIGUSR1)  # where the guest stands
            time.sleep(0.5)
        for _ in range(2):
            self.process.terminate()
            time.sleep(0.2)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.errors.read_text(errors="replace")


class Service:
    def __init__(self) -> None:
        self.vm: Vm | None = None
        self.begun: dict[str, float] = {}

    def start(self, vmm: str, marker: str, **options: str) -> dict:
        self.stop()
        self.vm = Vm(vmm, **options)
        try:
            return self.vm.boot(marker)
        except ConsoleError as error:
            raise RuntimeError(f"{error}; the VMM says: {self.stop()['said']}") from None

    def guest(self, script: str, limit_s: float) -> dict:
        return self._running().guest(script, limit_s)

    def begin(self) -> dict:
        self.begun = self._running().begin()
        return {}

    def end(self) -> dict:
        return {"cost": self._running().cost_since(self.begun)}

    def memory(self) -> dict:
        return self._running().memory()

    def stop(self) -> dict:
        vm, self.vm = self.vm, None
        return {"said": vm.stop() if vm else ""}

    def _running(self) -> Vm:
        if self.vm is None:
            raise RuntimeError("no VMM runs")
        return self.vm


def main() -> None:
    RUN.mkdir(exist_ok=True)
    service = Service()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = getattr(service, request.pop("do"))(**request)
            except Exception as error:  # whatever it was, the other side says it
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
    finally:
        service.stop()


main()
