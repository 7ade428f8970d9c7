"""Medians, ratios and the table."""

from __future__ import annotations

import statistics
from typing import NamedTuple

# The VMMs, and those of them whose better figure is the one to reach. vhost's is shown beside them.
VMMS = ("ftvmm", "microvm", "pc", "pc+vhost")
RIVALS = ("microvm", "pc")


class Metric(NamedTuple):
    key: str
    name: str
    unit: str
    target: float  # of ftvmm's figure to the rival's: at least, or where less is better at most
    more_is_better: bool = True
    rivals: tuple[str, ...] = RIVALS


METRICS = (
    Metric("boot", "start to init", "s", 0.9, False, ("microvm",)),
    Metric("read 4k", "fio random read 4 KiB", "IOPS", 0.9),
    Metric("write 4k", "fio random write 4 KiB", "IOPS", 0.9),
    Metric("read 1m", "fio sequential read 1 MiB", "MiB/s", 0.9),
    Metric("write 1m", "fio sequential write 1 MiB", "MiB/s", 0.9),
    Metric("to guest", "iperf3 to the guest", "Mbit/s", 0.9),
    Metric("from guest", "iperf3 from the guest", "Mbit/s", 0.9),
    Metric("round trip", "round trip of 1 byte", "us", 1.0, False),
)
MEMORY_LIMIT_MIB = 16

Runs = dict[str, list[dict[str, float]]]  # of each VMM, what each of its runs has measured


class Verdict(NamedTuple):
    medians: dict[str, float]
    ratio: float | None  # to the better rival
    met: bool | None


def judge(metric: Metric, runs: Runs) -> Verdict:
    """A metric's medians, and whether ftvmm's reaches its target.  None: nothing to compare with."""
    medians = medians_of(metric.key, runs)
    rivals = [medians[vmm] for vmm in metric.rivals if vmm in medians]
    if "ftvmm" not in medians or not rivals:
        return Verdict(medians, None, None)
    ratio = medians["ftvmm"] / (max(rivals) if metric.more_is_better else min(rivals))
    return Verdict(medians, ratio, ratio >= metric.target if metric.more_is_better else ratio <= metric.target)


def medians_of(key: str, runs: Runs) -> dict[str, float]:
    found = {vmm: [values[key] for values in each if key in values] for vmm, each in runs.items()}
    return {vmm: statistics.median(values) for vmm, values in found.items() if values}


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _yes(met: bool | None) -> str:
    return "-" if met is None else "yes" if met else "NO"


def table(runs: Runs) -> str:
    """The table as it is printed."""
    rows = [["", "unit", *VMMS, "ratio", "wanted", "met"]]
    for metric in METRICS:
        verdict = judge(metric, runs)
        if not verdict.medians:
            continue
        wanted = f"{'>=' if metric.more_is_better else '<='} {metric.target}"
        figures = [_number(verdict.medians.get(vmm)) for vmm in VMMS]
        rows.append([metric.name, metric.unit, *figures, _number(verdict.ratio), wanted, _yes(verdict.met)])
    memory = medians_of("memory", runs)
    if memory:
        met = memory["ftvmm"] <= MEMORY_LIMIT_MIB if "ftvmm" in memory else None
        rows.append(["memory beyond the guest's", "MiB", *(_number(memory.get(vmm)) for vmm in VMMS),
                     "", f"<= {MEMORY_LIMIT_MIB} MiB", _yes(met)])  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[i].ljust(widths[i]) if i < 2 else row[i].rjust(widths[i]) for i in range(len(row))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def costs_table(costs: dict[str, list[dict[str, dict]]]) -> str:
    """Per operation (a disk request, a round trip, 64 KiB of a stream): exits, switches and CPU time."""
    rows = [["", "vmm", "exits", "to user", "HLT", "injected", "switches", "VMM us", "kernel us", "guest us"]]
    for metric in METRICS:
        for vmm in VMMS:
            found = [run[metric.key] for run in costs.get(vmm, []) if run.get(metric.key, {}).get("operations")]
            if not found:
                continue
            rows.append([metric.name, vmm, *(_number(_per_operation(found, names, factor))
                                             for names, factor in COSTS)])  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))
                     for row in rows)  # fmt: skip


COSTS = (
    ("exits", 1), ("host_state_reload", 1), ("halt_exits", 1), ("irq_injections", 1), ("switches", 1),
    ("user_s", 1e6), ("system_s", 1e6), ("guest_s", 1e6),
)  # fmt: skip


def _per_operation(found: list[dict], name: str, factor: float) -> float:
    return statistics.median(cost.get(name, 0) * factor / cost["operations"] for cost in found)
