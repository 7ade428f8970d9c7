"""`status`: what the keeper says, for people or as JSON, with process ids as seen from outside."""

from __future__ import annotations

import os
from pathlib import Path

from .plan import NETS


def outer_pids(keeper: int) -> dict[int, int]:
    """Process id inside the keeper's pid namespace -> process id out here."""
    namespace = os.readlink(f"/proc/{keeper}/ns/pid")
    result = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(entry / "ns/pid") != namespace:
                continue
            for line in (entry / "status").read_text().splitlines():
                if line.startswith("NSpid:"):
                    result[int(line.split()[-1])] = int(entry.name)
        except OSError:
            continue  # it ended meanwhile
    return result


def resident_mib(pid: int | None) -> int | None:
    """Memory the process has really touched."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    return None


def complete(report: dict, keeper: int) -> dict:
    """The keeper's report with outer process ids and resident memory."""
    pids = outer_pids(keeper)
    report["keeper_pid"] = keeper
    for machine in [*report["machines"].values(), report["client"]]:
        machine["pid"] = pids.get(machine.pop("pid_inside"))
        machine["resident_mib"] = resident_mib(machine["pid"])
    return report


def table(report: dict) -> str:
    """For people."""
    shape = report["shape"]
    accel = "nested KVM" if shape["nested_kvm"] else "TCG"
    lines = [f"testbed {report['instance']}: up, keeper {report['keeper_pid']}, hosts under {accel}"]
    row = "{:7} {:8} {:>8} {:>12} {:>8}  {}".format
    lines.append(row("HOST", "STATE", "PID", "MEMORY MiB", "UP s", "ADDRESSES"))
    for name, m in report["machines"].items():
        addresses = " ".join(f"{net}={m['addresses'][net]}" for net in NETS if net in m["addresses"])
        memory = f"{m['resident_mib'] or 0}/{m['memory_mib']}"
        uptime = "-" if m["uptime_s"] is None else f"{m['uptime_s']:.0f}"
        lines.append(row(name, m["state"], m["pid"] or "-", memory, uptime, addresses))
    client = report["client"]
    lines.append(row("client", "up", client["pid"] or "-", "-", "-", f"svc={client['address']}"))
    lines.append(f"nfs: {report['nfs'] or 'none'}")
    lines += report["faults"] or ["faults: none"]
    return "\n".join(lines)
