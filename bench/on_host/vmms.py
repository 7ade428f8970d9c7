"""The VMMs that are compared: how each is started with the same guest."""

from __future__ import annotations

from pathlib import Path

WORK = Path("/var/tmp/ftvmm-bench")
RUN = Path("/run/ftvmm-bench")
TAP = "bench0"
MAC = "52:54:00:be:0c:01"
MEMORY_MIB = 512
SERIAL, AGENT = RUN / "serial", RUN / "hvc0"

CMDLINE = (
    "console=ttyS0 quiet loglevel=0 panic=-1 net.ifnames=0 rdinit=/bench/init"
    " ip=10.77.1.60:::255.255.255.0::eth0:off"
)

VM_TOML = f"""\
name = "bench"
uuid = "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67"
memory = "{MEMORY_MIB} MiB"
kernel = "{WORK}/vmlinuz"
initrd = "{WORK}/initrd"
cmdline = "{CMDLINE}"
[cpu]
model = "CPU_MODEL"
[[disk]]
path = "{WORK}/disk.img"
read_only = true
[[disk]]
path = "SCRATCH"
[[nic]]
mac = "{MAC}"
tap = "{TAP}"
"""


def _ftvmm(program: str, scratch: str, cpu_model: str) -> list[str]:
    file = RUN / "vm.toml"
    file.write_text(VM_TOML.replace("SCRATCH", scratch).replace("CPU_MODEL", cpu_model))
    return [program, "run", str(file), "--headless", "--stats",
            "--console-socket", f"serial={SERIAL}", "--console-socket", f"virtio={AGENT}"]  # fmt: skip


def _qemu(machine: list[str], bus: str, scratch: str, vhost: bool) -> list[str]:
    """QEMU with the devices that ftvmm has, each on `bus` (pci or device, which is MMIO)."""
    def disk(name: str, path: str, read_only: str) -> list[str]:
        return ["-drive", f"if=none,id={name},file={path},format=raw,cache=none,aio=io_uring,readonly={read_only}",
                "-device", f"virtio-blk-{bus},drive={name}"]  # fmt: skip

    def console(name: str, path: Path) -> list[str]:
        return ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]

    return [
        "qemu-system-x86_64", *machine, "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", str(MEMORY_MIB),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", f"{WORK}/vmlinuz", "-initrd", f"{WORK}/initrd", "-append", CMDLINE,
        *console("serial", SERIAL), "-serial", "chardev:serial",
        *console("agent", AGENT), "-device", f"virtio-serial-{bus}", "-device", "virtconsole,chardev=agent",
        *disk("root", f"{WORK}/disk.img", "on"), *disk("scratch", scratch, "off"),
        "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no,vhost={'on' if vhost else 'off'}",
        "-device", f"virtio-net-{bus},netdev=net,mac={MAC}",
        "-device", f"virtio-rng-{bus}",
    ]  # fmt: skip


# Debian's kernel takes no MMIO devices from its command line, so microvm describes them with ACPI. The
# firmware is microvm's own; without the 8254 and the 8259, as its manual advises where they are not needed.
MICROVM = ["-M", "microvm,acpi=on,pic=off,pit=off", "-global", "virtio-mmio.force-legacy=false"]
PC = ["-M", "pc"]


def command(vmm: str, *, program: str, scratch: str, cpu_model: str) -> list[str]:
    """The command line of a VMM by its name."""
    if vmm == "ftvmm":
        return _ftvmm(program, scratch, cpu_model)
    if vmm == "microvm":
        return _qemu(MICROVM, "device", scratch, vhost=False)
    return _qemu(PC, "pci", scratch, vhost=vmm == "pc+vhost")
