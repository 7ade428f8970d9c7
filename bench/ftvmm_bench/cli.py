"""bench/run: the options, the order of runs, the JSON."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from ftvmm_bench import report
from ftvmm_bench.host import IMAGES, ROOT, Host, HostError
from ftvmm_bench.initrd import InitrdError
from ftvmm_bench.session import FAMILIES, Plan, Session
from harness import acquire

SECONDS, QUICK_SECONDS = 10, 2
NEEDED = {"iperf3": "iperf3", "debugfs": "e2fsprogs"}  # programs of this machine, and their packages


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Compares ftvmm with QEMU/KVM in one testbed host. See docs/benchmarks.md."
    )
    parser.add_argument("--pairs", type=int, default=5, help="runs of each VMM (5)")
    parser.add_argument("--only", choices=FAMILIES, action="append", help="measure this alone; may be repeated")
    parser.add_argument("--vmm", choices=report.VMMS, action="append", help="run this alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS} s a measurement, and one pair")
    parser.add_argument("--disk", choices=("ram", "file"), default="ram", help="what the scratch disk is (ram)")
    parser.add_argument("--cpu-model", choices=("v2", "v3"), default="v2", help="ftvmm's (v2)")
    parser.add_argument("--preset", default="release", help="the build of ftvmm (release)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all that was found")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    return parser.parse_args()


def _refusal(preset: str) -> str | None:
    """Why nothing can be measured here, and what to do."""
    for program, package in NEEDED.items():
        if not shutil.which(program):
            return f"{program} is missing; apt-get install {package}"
    if not (ROOT / "build" / preset / "ftvmm").exists():
        return (f"build/{preset}/ftvmm is missing; cmake --preset {preset} && "
                f"cmake --build build/{preset} --target ftvmm")  # fmt: skip
    for image in ("quick", "cloud"):
        if not (IMAGES / image).exists():
            return f"guest image {image} is missing; tests/guest-image/build all"
    return None


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _measure(host: Host, plan: Plan, vmms: list[str], pairs: int) -> list[dict]:
    """Every run in the order in which it was made.  Each pair goes the other way round than the one before."""
    found = []
    for pair in range(pairs):
        for vmm in vmms if pair % 2 == 0 else reversed(vmms):
            _say(f"pair {pair + 1} of {pairs}: {vmm}, load {os.getloadavg()[0]:.1f}")
            run = _run(host, plan, vmm)
            found.append({"vmm": vmm, "pair": pair + 1, **run})
    return found


def _run(host: Host, plan: Plan, vmm: str) -> dict:
    load = os.getloadavg()[0]
    measured = Session(host, plan).run(vmm)
    return {"load": load, "values": measured.values, "costs": measured.costs, "said": measured.said}


def _by_vmm(found: list[dict], what: str) -> dict[str, list[dict]]:
    return {vmm: [run[what] for run in found if run["vmm"] == vmm] for vmm in {run["vmm"] for run in found}}


def main() -> int:
    options = _arguments()
    if refusal := _refusal(options.preset):
        print(f"bench/run: {refusal}", file=sys.stderr)
        return 2
    plan = Plan(
        program=f"/build/{options.preset}/ftvmm", cpu_model=options.cpu_model,
        families=tuple(options.only or FAMILIES), seconds=QUICK_SECONDS if options.quick else SECONDS,
    )  # fmt: skip
    pairs = 1 if options.quick else options.pairs
    vmms = [vmm for vmm in report.VMMS if vmm in (options.vmm or report.VMMS)]
    testbed = acquire("--hosts", "1", "--no-nfs")
    try:
        host = Host(testbed, options.disk)
        try:
            found = _measure(host, plan, vmms, pairs)
        finally:
            host.close()
    except (HostError, InitrdError) as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2
    finally:
        testbed.release()
    if options.json:
        options.json.write_text(json.dumps({"pairs": pairs, "seconds": plan.seconds, "runs": found}, indent=1))
    runs = _by_vmm(found, "values")
    print(report.table(runs))
    print("\nPer request, round trip, or 64 KiB of a stream:\n" + report.costs_table(_by_vmm(found, "costs")))
    missed = any(report.judge(metric, runs).met is False for metric in report.METRICS)
    return 1 if options.check and missed else 0
