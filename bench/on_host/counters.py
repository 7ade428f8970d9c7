"""What a VMM's process and its VM have cost so far, by the host's own accounts."""

from __future__ import annotations

import os
import re
from pathlib import Path

KVM = Path("/sys/kernel/debug/kvm")
EXITS = ("exits", "io_exits", "mmio_exits", "halt_exits", "irq_exits", "signal_exits",
         "irq_injections", "irq_window_exits", "host_state_reload")  # fmt: skip
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def snapshot(pid: int) -> dict[str, float]:
    """Counters that only grow: KVM's for the VM, CPU time in seconds, switches of the process's threads."""
    counters: dict[str, float] = {}
    for folder in KVM.glob(f"{pid}-*"):
        for name in EXITS:
            if (folder / name).exists():
                counters[name] = int((folder / name).read_text())
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, guest = int(fields[11]), int(fields[12]), int(fields[40])
    # A process's user time has the guest's in it (proc(5)).
    counters |= {"user_s": (user - guest) * TICK_S, "system_s": system * TICK_S, "guest_s": guest * TICK_S}
    counters["switches"] = sum(_switches(task) for task in Path(f"/proc/{pid}/task").iterdir())
    return counters


def _switches(task: Path) -> int:
    return sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text())))


def difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: round(after[name] - before.get(name, 0), 3) for name in after}


def overhead_kib(pid: int, memory_mib: int) -> int:
    """Resident memory of the process without the mappings that are the guest's own memory."""
    total = guest = size = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if mapping := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            size = (int(mapping[2], 16) - int(mapping[1], 16)) // 1024
        elif line.startswith("Rss:"):
            resident = int(line.split()[1])
            total += resident
            if size >= memory_mib * 1024 * 9 // 10:
                guest += resident
    return total - guest
