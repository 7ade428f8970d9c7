#!/usr/bin/env python3
"""Writes corpus/platform: what a guest does with each part of its machine, in the steps of platform_machine.cpp."""

from pathlib import Path
from struct import pack

RNG, CONSOLE, DISK, DISK_TO_READ, NIC = range(5)
# Where the ports stand in kPorts.
PIC, PIC_DATA, SLAVE, SLAVE_DATA = 0, 1, 2, 3
PIT0, PIT2, PIT_CONTROL, GATE, RTC_INDEX, RTC_DATA = 6, 8, 9, 10, 11, 12
SERIAL, SERIAL_IER, SERIAL_FCR, SERIAL_MCR = 13, 14, 15, 17
PM_STATUS, PM_ENABLE, PM_CONTROL, PM_CONTROL_HIGH, PM_TIMER = 22, 24, 26, 27, 28
CONFIG_ADDRESS, RESET, CONFIG_DATA = 34, 35, 38
# Where the MSRs stand.
EOI, SVR, LVT_TIMER, COUNT, CURRENT, DIVIDE, SELF_IPI = 0x0b, 0x0f, 0x32, 0x38, 0x39, 0x3e, 0x3f
PV_EOI, WALL_CLOCK, SYSTEM_TIME = 0xfd, 0xfe, 0xff


def step(number: int, *parts: bytes, restore: bool = False) -> bytes:
    return bytes([0 if restore else 1, number]) + b"".join(parts)


def read(port: int, log2_size: int = 0) -> bytes:
    return step(0, bytes([port, log2_size, 1]))


def write(port: int, value: int, log2_size: int = 0) -> bytes:
    return step(0, bytes([port, log2_size, 0]), pack("<I", value) if log2_size == 2 else bytes([value]))


def read_bar(device: int, offset: int, log2_size: int) -> bytes:
    return step(1, pack("<BHB", device, offset, log2_size << 1 | 1))


def write_bar(device: int, offset: int, log2_size: int, value: int) -> bytes:
    return step(1, pack("<BHBB", device, offset, log2_size << 1, value))


def config(device: int, offset: int) -> bytes:
    return step(1, pack("<BBB", 5 + device, offset, 2 << 1 | 1))


def rdmsr(msr: int) -> bytes:
    return step(2, bytes([msr, 1]))


def wrmsr(msr: int, value: int) -> bytes:
    return step(2, pack("<BBHH", msr, 2, value & 0xffff, value >> 16))


def ram(address: int, content: bytes) -> bytes:
    return step(3, pack("<HB", address, len(content) - 1), content)


def start(device: int, log2_ring: int = 3) -> bytes:
    return step(4, bytes([device, log2_ring, 0]))


def offer(device: int, queue: int, *buffers: tuple[int, int, bool]) -> bytes:
    """Buffers are (offset, length, writable)."""
    return step(5, bytes([device, queue | len(buffers) << 4]),
                *[pack("<HH", offset, length | writable << 15) for offset, length, writable in buffers])


def pass_us(microseconds: int) -> bytes:
    return step(6, pack("<BI", 1, microseconds * 1000))


def to_deadline(restore: bool = False) -> bytes:
    return step(6, bytes([2]), restore=restore)


def power_button() -> bytes:
    return step(7, bytes([0]))


def wall_clock(seconds: int) -> bytes:
    return step(7, pack("<Bq", 1, seconds * 10**9))


def type_in(port: int, text: bytes) -> bytes:
    return step(7, bytes([2 + port, 4 * len(text)]), text)


def packet(length: int, restore: bool = False) -> bytes:
    return step(7, bytes([4]), bytes(12), pack("<HBB", length, 0, 0), restore=restore)


def disk_done(restore: bool = False) -> bytes:
    return step(8, b"\1\0", restore=restore)


def entropy(length: int) -> bytes:
    return step(9, pack("<BH", 0, length))


def interrupt(restore: bool = False) -> bytes:
    return step(10, restore=restore)


PIC_SET_UP = b"".join(write(port, value) for port, value in [
    (PIC, 0x11), (PIC_DATA, 0x30), (PIC_DATA, 4), (PIC_DATA, 1), (SLAVE, 0x11), (SLAVE_DATA, 0x38), (SLAVE_DATA, 2),
    (SLAVE_DATA, 1), (PIC_DATA, 0), (SLAVE_DATA, 0)])
APIC_TIMER = wrmsr(SVR, 0x1ff) + wrmsr(DIVIDE, 3) + wrmsr(LVT_TIMER, 0x200ec) + wrmsr(COUNT, 62500)


def disk_request(device: int, kind: int, sector: int) -> bytes:
    return (ram(0x8000, pack("<IIQ", kind, 0, sector)) + ram(0x8100, pack("<QII", 2, 2, 0))
            + offer(device, 0, (0, 16, False), (0x100, 16 if kind >= 11 else 512, kind == 0), (0x20, 1, True)))


SEEDS = {
    "pit": PIC_SET_UP + write(PIT_CONTROL, 0x34) + write(PIT0, 0xa9) + write(PIT0, 4) + to_deadline() + interrupt()
           + write(PIC, 0x20) + to_deadline(restore=True) + read(PIC) + interrupt() + write(PIC, 0x60)
           + write(PIT_CONTROL, 0xc2) + read(PIT0) + read(PIT0),
    "pit_gate": write(GATE, 1) + write(PIT_CONTROL, 0xb0) + write(PIT2, 0xff) + write(PIT2, 0x10) + pass_us(3000)
                + read(GATE) + write(PIT_CONTROL, 0x80) + read(PIT2) + read(PIT2),
    "rtc": PIC_SET_UP + wall_clock(1_700_000_000) + b"".join(write(RTC_INDEX, i) + read(RTC_DATA) for i in (0, 9, 0x32))
           + write(RTC_INDEX, 0x0b) + write(RTC_DATA, 0x72) + to_deadline(restore=True) + interrupt()
           + write(RTC_INDEX, 0x0c) + read(RTC_DATA),
    "serial": PIC_SET_UP + write(SERIAL_FCR, 0xc7) + write(SERIAL_MCR, 0x0b) + write(SERIAL_IER, 3)
              + write(SERIAL, 0x41) + interrupt() + read(SERIAL_FCR) + type_in(0, b"hello, what is it that you")
              + interrupt(restore=True) + b"".join(read(SERIAL) for _ in range(6)),
    "apic": APIC_TIMER + to_deadline() + interrupt() + wrmsr(EOI, 0) + rdmsr(CURRENT) + to_deadline(restore=True)
            + wrmsr(SELF_IPI, 0xf0) + interrupt() + wrmsr(EOI, 0) + rdmsr(0x30),
    "pv_eoi": wrmsr(PV_EOI, 0x5001) + APIC_TIMER + to_deadline() + interrupt(restore=True) + ram(0x5000, b"\0")
              + to_deadline() + interrupt() + wrmsr(SELF_IPI, 0xf0) + interrupt() + wrmsr(EOI, 0),
    "pv_clock": wall_clock(1_700_000_000) + wrmsr(WALL_CLOCK, 0x5100) + wrmsr(SYSTEM_TIME, 0x5201) + pass_us(500)
                + to_deadline(restore=True) + wrmsr(SYSTEM_TIME, 0),
    "acpi": PIC_SET_UP + write(PM_ENABLE, 0, 1) + write(PM_ENABLE + 1, 1) + power_button() + interrupt(restore=True)
            + read(PM_STATUS, 1) + write(PM_STATUS + 1, 1) + read(PM_TIMER, 2) + write(PM_CONTROL_HIGH, 0x34)
            + write(RESET, 6),
    "pci": write(CONFIG_ADDRESS, 0x80002010, 2) + read(CONFIG_DATA, 2) + write(CONFIG_DATA, 0xffffffff, 2)
           + read(CONFIG_DATA, 2) + config(DISK, 0x10) + config(NIC, 0x34) + read_bar(DISK, 20, 0),
    "disk": start(DISK) + start(DISK_TO_READ) + disk_request(DISK, 1, 3) + disk_request(DISK_TO_READ, 0, 2)
            + disk_done(restore=True) + interrupt() + wrmsr(EOI, 0) + disk_done() + interrupt(),
    "disk_under_way": start(DISK) + disk_request(DISK, 0, 1) + disk_request(DISK, 1, 2) + disk_request(DISK, 4, 0)
                      + disk_request(DISK, 11, 0) + disk_request(DISK, 13, 0),
    "nic": start(NIC) + packet(100) + offer(NIC, 0, (0x100, 1526, True)) + packet(90, restore=True)
           + ram(0x9000, bytes(30)) + offer(NIC, 1, (0x1000, 74, False)) + interrupt() + wrmsr(EOI, 0) + packet(70),
    "rng": start(RNG) + offer(RNG, 0, (0, 64, True)) + entropy(64) + offer(RNG, 0, (0x100, 9000, True))
           + interrupt(restore=True) + entropy(4999),
    "console": start(CONSOLE) + type_in(1, b"hello") + offer(CONSOLE, 1, (0, 5, False))
               + offer(CONSOLE, 0, (0x100, 2, True)) + offer(CONSOLE, 0, (0x200, 9, True)) + type_in(1, b"again"),
    "masked": start(DISK) + write_bar(DISK, 0x301c, 2, 1) + disk_request(DISK, 0, 0) + disk_done()
              + write_bar(DISK, 0x301c, 2, 0) + interrupt(restore=True) + write_bar(DISK, 20, 0, 0) + start(DISK, 4),
}
# Everything that one machine can have under way at once.
SEEDS["all"] = (SEEDS["pv_eoi"] + SEEDS["pv_clock"] + SEEDS["pit"] + SEEDS["serial"] + SEEDS["disk_under_way"]
                + SEEDS["console"] + SEEDS["nic"] + start(RNG) + offer(RNG, 0, (0, 64, True)))

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent / "corpus" / "platform"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (folder / name).write_bytes(content)
