"""One emulated machine: its QEMU, its virtiofsd, its disk.

The command line is made by a pure function; `Machine` starts, freezes and kills the processes.
Only the keeper uses `Machine`, from one thread at a time per machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from . import requirements
from .errors import TestbedError
from .instance import Instance
from .plan import NFS, Member

NFS_MEMORY_MIB = 512
TCG_CACHE_MIB = 256  # translated code; QEMU's own choice of 1 GiB would not fit three hosts in 8 GiB


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is made of."""

    instance: str
    member: Member
    memory_mib: int
    cpus: int
    nested_kvm: bool
    with_nfs: bool  # the testbed has an nfs1
    image_dir: Path
    disk: Path
    serial_log: Path
    virtiofs_socket: Path | None  # None: no /build

    @property
    def process_name(self) -> str:
        return f"ftvmm-{self.instance}-{self.member.name}"


def kernel_arguments(spec: MachineSpec) -> str:
    """The kernel command line, which alone makes one image into h1, h2 or nfs1."""
    member = spec.member
    cards = ",".join(f"{net}:{member.address(net)}" for net in member.nets)
    words = [
        "console=ttyS0 quiet loglevel=5 panic=-1 net.ifnames=0",
        # Only the TSC survives a long pause: acpi_pm wraps after 4.7 s.
        "clocksource=tsc tsc=reliable",
        "mitigations=off audit=0 ipv6.disable_ipv6=1 systemd.show_status=0",
        f"systemd.hostname={member.name}",
        # Its own, and the same at each boot; the image's would be everybody's.
        f"systemd.machine_id={uuid.uuid5(uuid.NAMESPACE_DNS, spec.process_name).hex}",
        f"ftvmm.net={cards}",
    ]
    if member.name == NFS:
        words.append("ftvmm.role=nfs systemd.wants=nfs-server.service")
    else:
        words.append("ftvmm.role=host systemd.wants=ftvmm-testbed-host.service")
        if spec.with_nfs:
            words.append(f"ftvmm.nfs={NFS}")
    return " ".join(words)


def qemu_arguments(spec: MachineSpec) -> list[str]:
    """QEMU's whole command line.  A guest that reboots or powers off ends its QEMU."""
    accel = ["-accel", "kvm", "-cpu", "host"]
    if not spec.nested_kvm:
        accel = ["-accel", f"tcg,thread=multi,tb-size={TCG_CACHE_MIB}", "-cpu", "EPYC,+svm,+npt,+invtsc"]
    args = [
        "qemu-system-x86_64",
        "-name", f"{spec.process_name},process={spec.process_name}",
        "-machine", "q35,memory-backend=ram", *accel, "-smp", str(spec.cpus),
        "-m", str(spec.memory_mib),
        "-object", f"memory-backend-memfd,id=ram,size={spec.memory_mib}M,share=on",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(spec.image_dir / "vmlinuz"),
        "-initrd", str(spec.image_dir / "initrd.img"),
        "-append", kernel_arguments(spec),
        "-drive", f"if=virtio,file={spec.disk},format=qcow2,cache=writeback",
        "-device", "virtio-rng-pci",
        "-chardev", f"file,id=serial,path={spec.serial_log},append=on", "-serial", "chardev:serial",
        "-monitor", f"unix:{spec.serial_log.with_suffix('.monitor')},server=on,wait=off",
    ]  # fmt: skip
    for net in spec.member.nets:
        tap = f"ifname={spec.member.port(net)},script=no,downscript=no,vhost=off"
        args += ["-netdev", f"tap,id={net},{tap}"]
        args += ["-device", f"virtio-net-pci,netdev={net},mac={spec.member.mac(net)},romfile="]
    if spec.virtiofs_socket:
        args += ["-chardev", f"socket,id=build,path={spec.virtiofs_socket}"]
        args += ["-device", "vhost-user-fs-pci,chardev=build,tag=build"]
    return args


class Machine:
    """A machine that can be switched on, frozen and lose its power.  States: down, up, paused."""

    def __init__(self, instance: Instance, spec: MachineSpec, shared: Path) -> None:
        self.spec = spec
        self._shared = shared
        self._log_path = instance.run_dir / f"{spec.member.name}.qemu"
        self._qemu: subprocess.Popen | None = None
        self._virtiofsd: subprocess.Popen | None = None
        self._paused = False
        self.started_at = 0.0

    @property
    def name(self) -> str:
        return self.spec.member.name

    @property
    def pid(self) -> int | None:
        return self._qemu.pid if self._qemu and self._qemu.poll() is None else None

    @property
    def state(self) -> str:
        if self.pid is None:
            return "down"
        return "paused" if self._paused else "up"

    def switch_on(self) -> None:
        """Requires state down.  The disk keeps what it held; a missing one is made from the image."""
        if not self.spec.disk.exists():
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
                 "-b", str(self.spec.image_dir / "root.ext4"), str(self.spec.disk)],
                check=True,
            )  # fmt: skip
        with open(self._log_path, "ab") as log:
            if self.spec.virtiofs_socket:
                self._start_virtiofsd(log)
            self._paused = False
            self.started_at = time.monotonic()
            self._qemu = subprocess.Popen(
                qemu_arguments(self.spec), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _start_virtiofsd(self, log) -> None:
        socket = self.spec.virtiofs_socket
        socket.unlink(missing_ok=True)
        self._stop_virtiofsd()
        # In a mount namespace of its own the build tree is read-only, whatever a host tries.
        read_only = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        self._virtiofsd = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", read_only, str(self._shared),
             str(requirements.virtiofsd()), f"--socket-path={socket}", "-o", f"source={self._shared}",
             "-o", "cache=auto", "-o", "log_level=err"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while not socket.exists():
            if self._virtiofsd.poll() is not None or time.monotonic() > deadline:
                raise TestbedError(f"virtiofsd of {self.name} did not start: see {self._log_path}")
            time.sleep(0.02)

    def _stop_virtiofsd(self) -> None:
        if self._virtiofsd and self._virtiofsd.poll() is None:
            self._virtiofsd.kill()
        if self._virtiofsd:
            self._virtiofsd.wait()
        self._virtiofsd = None

    def wait_end(self) -> None:
        """Requires that it was switched on.  Returns when that QEMU has ended."""
        self._qemu.wait()

    def power_loss(self) -> None:
        """Requires state up or paused.  What the machine had not synced to its disk is lost."""
        self._qemu.kill()
        self._qemu.wait()
        self._stop_virtiofsd()

    def pause(self) -> None:
        """Requires state up.  The clock goes on: the machine will see it jump."""
        os.kill(self._qemu.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Requires state paused."""
        self._paused = False
        os.kill(self._qemu.pid, signal.SIGCONT)

    def console_tail(self) -> str:
        """What the machine printed last.  Its log goes with the testbed that does not come up."""
        log = self.spec.serial_log
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "".join(f"\n  | {line.strip()}" for line in lines[-15:])

    def last_words(self) -> str:
        """The end of QEMU's own output: why it ended, when it did."""
        lines = self._log_path.read_text(errors="replace").split("\n") if self._log_path.exists() else []
        return " / ".join(line.strip() for line in lines[-4:] if line.strip())
