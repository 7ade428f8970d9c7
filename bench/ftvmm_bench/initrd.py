"""The initrd that every VMM boots: that of image `quick`, with a first program that tells when it runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

MARKER = "ftvmm-bench: init runs"  # printed first of all

# The kernel's first program.  `quick` has no driver for virtio over MMIO, which microvm's devices need.
FIRST_PROGRAM = f"""#!/bin/busybox sh
echo '{MARKER}'
for module in virtio virtio_ring; do
  /bin/busybox modprobe $module
done
/bin/busybox insmod /bench/virtio_mmio.ko
exec /init
"""


class InitrdError(Exception):
    """The initrd could not be made.  The message says why and what to do."""


def _entry(name: str, mode: int, data: bytes, number: int) -> bytes:
    """One entry of a newc archive (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""
    path = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """A newc archive of names with their mode and content."""
    entries = [_entry(name, mode, data, n) for n, (name, (mode, data)) in enumerate(files.items(), 1)]
    return b"".join(entries) + _entry("TRAILER!!!", 0, b"", 0)


def _from_disk(disk: Path, path: str) -> bytes:
    """A file of an ext4 image that is not mounted."""
    done = subprocess.run(["debugfs", "-R", f"cat {path}", str(disk)], capture_output=True)
    if done.returncode != 0 or not done.stdout:
        raise InitrdError(f"{disk} has no {path}; make the images anew: tests/guest-image/build all")
    return done.stdout


def _kernel_version(disk: Path) -> str:
    done = subprocess.run(["debugfs", "-R", "ls -p /lib/modules", str(disk)], capture_output=True, text=True)
    found = re.search(r"/(\d+\.\d+\.[^/]*)/", done.stdout)
    if not found:
        raise InitrdError(f"{disk} has no kernel's modules; make the images anew: tests/guest-image/build all")
    return found[1]


def make(quick_initrd: Path, cloud_disk: Path, target: Path) -> None:
    """Writes the benchmark's initrd."""
    module = f"/lib/modules/{_kernel_version(cloud_disk)}/kernel/drivers/virtio/virtio_mmio.ko"
    added = archive({
        "bench": (0o040755, b""),
        "bench/virtio_mmio.ko": (0o100644, _from_disk(cloud_disk, module)),
        "bench/init": (0o100755, FIRST_PROGRAM.encode()),
    })  # fmt: skip
    target.write_bytes(_padded(quick_initrd.read_bytes()) + added)
