"""What the machine must offer, checked before anything is made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import TestbedError

VIRTIOFSD = (Path("/usr/lib/qemu/virtiofsd"), Path("/usr/libexec/virtiofsd"))

# Tool -> the Debian package that has it.
UP_TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
BUILD_TOOLS = {
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
SEARCH_PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def check_root() -> None:
    if os.geteuid() != 0:
        raise TestbedError("the testbed makes namespaces and taps: run it as root")


def check_tools(tools: dict[str, str]) -> None:
    missing = sorted({pkg for tool, pkg in tools.items() if not shutil.which(tool, path=SEARCH_PATH)})
    if tools is UP_TOOLS and not any(path.exists() for path in VIRTIOFSD):
        missing.append("qemu-system-common (virtiofsd)")
    if missing:
        raise TestbedError(f"missing tools: install the packages {' '.join(missing)}")
    if tools is UP_TOOLS and not Path("/dev/net/tun").exists():
        raise TestbedError("/dev/net/tun is missing: load the tun module (modprobe tun)")


def virtiofsd() -> Path:
    return next(path for path in VIRTIOFSD if path.exists())


def mem_available_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise TestbedError("/proc/meminfo does not tell the free memory: is /proc mounted?")


def check_memory(needed_mib: int) -> None:
    free = mem_available_mib()
    if free < needed_mib:
        raise TestbedError(
            f"{needed_mib} MiB of memory needed, {free} MiB free: "
            "use fewer hosts (--hosts) or smaller ones (--memory)"
        )


def nested_kvm() -> bool:
    """Whether this machine's own KVM can run hosts that run KVM; FTVMM_TESTBED_ACCEL decides first."""
    forced = os.environ.get("FTVMM_TESTBED_ACCEL", "")
    if forced not in ("", "tcg", "kvm"):
        raise TestbedError(f"FTVMM_TESTBED_ACCEL is '{forced}': use tcg or kvm, or unset it")
    if forced:
        return forced == "kvm"
    nested = any(
        path.exists() and path.read_text().strip() in ("1", "Y", "y")
        for path in (Path(f"/sys/module/{m}/parameters/nested") for m in ("kvm_amd", "kvm_intel"))
    )
    return nested and os.access("/dev/kvm", os.R_OK | os.W_OK)
