#!/usr/bin/env python3
"""Writes corpus/device: what a guest does with each device, in the steps of device_fuzz.cpp."""

from pathlib import Path
from struct import pack

SERIAL, PIC, ACPI, PIT, RTC, APIC = range(6)
FRESH = b"\0\0"  # At time zero, in the state of power-on.


def step(*parts: bytes, restore: bool = False) -> bytes:
    """Without any time that passes before."""
    return bytes([0 if restore else 7]) + b"".join(parts)


def timed(then: bytes, microseconds: int | None = None) -> bytes:
    """What comes next, but first time passes: as long, or to the deadline."""
    if microseconds is None:
        return b"\1\1" + pack("<H", 9) + then
    return b"\1\0\2" + pack("<IH", microseconds * 1000, 9) + then


def serial(register: int, value: int, restore: bool = False) -> bytes:
    return step(bytes([0x40 + register, value]), restore=restore)


def pic(port: int, value: int) -> bytes:
    """Ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 in that order."""
    return step(bytes([next(what for what in range(0x40, 0x80) if what % 7 == port), value]))


def pit(port: int, value: int) -> bytes:
    """Ports 0x40 to 0x43, then 0x61."""
    return bytes([0x60 + port, value])


def cmos(index: int, value: int) -> bytes:
    return step(bytes([0x40 + index])) + step(bytes([0xa0, value]))


def wrmsr(msr: int, value: int) -> bytes:
    return bytes([0x80 + msr]) + pack("<Q", value)


def changed(device: int, *fields: tuple[int, bytes]) -> bytes:
    """With fields of its state changed: each so many behind the last, and its bytes."""
    return bytes([device, 0, 1]) + b"".join(bytes([skip]) + change for skip, change in fields) + b"\x7f"


SEEDS = {
    "serial": bytes([SERIAL]) + FRESH + serial(2, 0xc7) + serial(4, 0x0b) + serial(1, 3) + serial(0, 0x41)
              + step(b"\x02") + step(b"\xcf") + serial(4, 0x1b, restore=True) + serial(0, 0x42) + step(b"\x00"),
    "serial_changed": changed(SERIAL, (0, b"\x0f"), (3, b"\xc1"), (4, b"\2")) + step(b"\x02") * 4,
    "pic": bytes([PIC]) + FRESH + b"".join(pic(port, value) for port, value in [
        (0, 0x11), (1, 0x30), (1, 4), (1, 1), (2, 0x11), (3, 0x38), (3, 2), (3, 1), (1, 0), (3, 0), (4, 0xf8)])
           + step(b"\x90") + step(b"\x98", restore=True) + step(b"\xc0") * 2 + pic(0, 0x20) + pic(0, 0x0c) + step(b"\0"),
    "pic_changed": changed(PIC, (1, b"\x11"), (2, b"\x00"), (9, b"")) + step(b"\xc0") * 3,
    "acpi": bytes([ACPI]) + FRESH + step(b"\x62" + pack("<I", 0x0100)) + step(b"\xe0") + step(b"\x00", restore=True)
            + step(b"\x60" + pack("<I", 0x0100)) + step(b"\x65" + pack("<I", 0x34)) + step(b"\x7f" + pack("<I", 6)),
    "pit": bytes([PIT]) + FRESH + step(pit(3, 0x34)) + step(pit(0, 0xa9)) + step(pit(0, 4)) + timed(pit(3, 0xc2))
           + timed(b"\0") + step(b"\0", restore=True) + timed(pit(3, 0x31), 700) + step(pit(0, 0x99)) + step(pit(0, 1))
           + timed(b"\0"),
    "pit_gate": bytes([PIT]) + FRESH + step(pit(4, 1)) + step(pit(3, 0xb0)) + step(pit(2, 0xff)) + step(pit(2, 9))
                + timed(pit(4, 0), 300) + timed(pit(4, 1), 300) + timed(b"\4", 3000),
    "pit_changed": changed(PIT, (7, b"\x05"), (0, b"")) + timed(b"\0") * 2,
    "rtc": bytes([RTC]) + FRESH + step(b"\xf0" + pack("<q", 1_700_000_000 * 10**9)) + cmos(1, 0xc0) + cmos(11, 0x72)
           + timed(b"\x4c") + step(b"\0", restore=True) + cmos(10, 0x2f) + timed(b"\0") + cmos(11, 0x82) + cmos(4, 0x23)
           + cmos(11, 0x02) + timed(b"\x44", 1_500_000) + step(b"\0"),
    "apic": bytes([APIC]) + FRESH + step(wrmsr(0x0f, 0x1ff)) + step(wrmsr(0x3e, 3)) + step(wrmsr(0x32, 0x200ec))
            + step(wrmsr(0x38, 62500)) + timed(b"\xd0") + step(wrmsr(0x0b, 0), restore=True) + timed(wrmsr(0x3e, 0xb))
            + timed(wrmsr(0x32, 0xec), 40) + timed(b"\xd0") + step(b"\xf0") + step(wrmsr(0x30, 0x40400)),
    "apic_changed": changed(APIC, (1, b"\xff" + pack("<Q", 0x10f)), (2, b"\x10"), (9, b"\x20")) + step(b"\xd0") * 3,
}

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent / "corpus" / "device"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (folder / name).write_bytes(content)
