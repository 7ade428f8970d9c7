"""One boot of the guest under one VMM, and what is measured in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ftvmm_bench.host import Host
from ftvmm_bench.initrd import MARKER

GUEST = "10.77.1.60"
ECHO_PORT = 7
ROOT = "/disk"  # where the guest, whose root is its initrd, has the Debian disk with the workloads

SET_UP = f"""
modprobe ext4 && mkdir -p {ROOT} && mount -t ext4 -o ro,noload /dev/vda {ROOT} &&
mount --bind /dev {ROOT}/dev && mount -t proc proc {ROOT}/proc && mount -t sysfs sys {ROOT}/sys &&
mount -t tmpfs tmpfs {ROOT}/tmp && mount -t tmpfs tmpfs {ROOT}/run && [ -b /dev/vdb ] &&
ip addr show dev eth0 | grep -q {GUEST}
"""

FIO = {
    "read 4k": ("randread", "4k", 16),
    "write 4k": ("randwrite", "4k", 16),
    "read 1m": ("read", "1m", 4),
    "write 1m": ("write", "1m", 4),
}
FAMILIES = ("boot", "disk", "net", "latency")


@dataclass
class Measurements:
    """Values by metric, and by metric what they have cost the host."""

    values: dict[str, float] = field(default_factory=dict)
    costs: dict[str, dict] = field(default_factory=dict)
    said: str = ""  # the VMM's standard error


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    program: str  # ftvmm, on the host
    cpu_model: str
    families: tuple[str, ...]
    seconds: float


class Session:
    def __init__(self, host: Host, plan: Plan) -> None:
        self._host = host
        self._plan = plan
        self._found = Measurements()

    def run(self, vmm: str) -> Measurements:
        booted = self._host.ask(
            "start", vmm=vmm, marker=MARKER, program=self._plan.program,
            scratch=self._host.scratch, cpu_model=self._plan.cpu_model,
        )  # fmt: skip
        try:
            self._put("boot", booted["init_s"], booted["cost"])
            self._found.values["boot to agent"] = booted["ready_s"]
            self._host.guest(SET_UP)
            for family, measure in (("disk", self._disk), ("net", self._net), ("latency", self._latency)):
                if family in self._plan.families:
                    measure()
            self._put("memory", self._host.ask("memory")["overhead_kib"] / 1024, {})
        finally:
            self._found.said = self._host.ask("stop")["said"]
        return self._found

    def _put(self, metric: str, value: float, cost: dict) -> None:
        self._found.values[metric] = value
        self._found.costs[metric] = cost

    def _disk(self) -> None:
        for metric, (pattern, block, depth) in FIO.items():
            done = self._host.guest(
                f"chroot {ROOT} fio --name=bench --filename=/dev/vdb --direct=1 --ioengine=libaio"
                f" --rw={pattern} --bs={block} --iodepth={depth} --norandommap --randrepeat=1"
                f" --runtime={self._plan.seconds} --time_based --output-format=json",
                limit_s=120 + 4 * self._plan.seconds,
            )
            text = done["output"]
            job = json.loads(text[text.index("{") :])["jobs"][0]
            side = job["read" if "read" in pattern else "write"]
            # By the job's own count and the guest's clock; the cost has the host's.
            value = side["iops"] if block == "4k" else side["bw_bytes"] / 2**20
            self._put(metric, value, done["cost"] | {"operations": side["total_ios"]})

    def _net(self) -> None:
        self._host.guest(f"chroot {ROOT} iperf3 -s -D")
        for metric, reverse in (("to guest", []), ("from guest", ["-R"])):
            self._host.ask("begin")
            text = self._host.client("iperf3", "-J", "-c", GUEST, "-t", self._plan.seconds, *reverse,
                                     limit_s=60 + 4 * self._plan.seconds)  # fmt: skip
            cost = self._host.ask("end")["cost"]
            received = json.loads(text)["end"]["sum_received"]
            self._put(metric, received["bits_per_second"] / 1e6, cost | {"operations": received["bytes"] / 65536})

    def _latency(self) -> None:
        program = Path(__file__).resolve().parents[1] / "pingpong.py"
        self._host.put_into_guest(program, f"{ROOT}/tmp/pingpong.py")
        self._host.guest(
            f"chroot {ROOT} python3 /tmp/pingpong.py serve {ECHO_PORT} >/dev/null 2>&1 &"
            f" until busybox netstat -ltn | grep -q ':{ECHO_PORT} '; do sleep 0.2; done"
        )
        self._host.ask("begin")
        found = json.loads(self._host.client("python3", program, "measure", GUEST, ECHO_PORT, self._plan.seconds))
        cost = self._host.ask("end")["cost"]
        self._put("round trip", found["median_us"], cost | {"operations": found["trips"], "p99_us": found["p99_us"]})
