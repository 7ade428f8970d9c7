#!/usr/bin/env python3
"""Writes corpus/log: every kind of record, by docs/log-format.md alone, and what a reader must refuse."""

from pathlib import Path
from struct import pack

(TIME, WALL_CLOCK, CONSOLE, PACKET, DISK, ENTROPY, BUTTON, POWER_ON, CHECKPOINT, OUTPUT_MARK, MARK, AUDIT,
 END, TRACE) = range(14)
STAY, FAR, ONE_CHECKPOINT, ABSOLUTE = 0, 13, 14, 15
BATCH, WHOLE_HEADER, HEADER, PAYLOAD = range(4)
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "log-v1"


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def blob(content: bytes) -> bytes:
    return varint(len(content)) + content


def record(kind: int, step: int, *parts: bytes, place: bytes = b"", digest: int = 0) -> bytes:
    return bytes([kind | step << 4]) + place + (b"" if step == STAY else pack("<H", digest)) + b"".join(parts)


def payload(*records: bytes, compressed: bool = False, raw: int = 0) -> bytes:
    return pack("<BBHBI", PAYLOAD, compressed, len(records), 0, raw) + b"".join(records)


POWER_ON_RECORD = record(POWER_ON, STAY, blob(b"seed"))
END_RECORD = record(END, STAY, bytes([3]), pack("<Q", 0))
GOLDEN_HEADER_BYTES = 16 + int.from_bytes(GOLDEN.read_bytes()[12:16], "little") + 8

SEEDS = {
    # The file's header as it is, its message alone, and its batches.
    "golden_header": bytes([WHOLE_HEADER]) + GOLDEN.read_bytes()[:GOLDEN_HEADER_BYTES],
    "golden_message": bytes([HEADER]) + GOLDEN.read_bytes()[16:GOLDEN_HEADER_BYTES - 8],
    "inputs": payload(
        POWER_ON_RECORD,
        record(WALL_CLOCK, STAY, varint(1_700_000_000_000_000_000 << 1)),
        record(TIME, STAY, varint(1_000_000)),
        record(CONSOLE, STAY, b"\1", blob(b"ls\r")),
        record(PACKET, STAY, varint(1), blob(bytes(60))),
        record(DISK, STAY, varint(0), varint(300), b"\1", blob(b"data")),
        record(ENTROPY, STAY, varint(7), blob(b"random")),
        record(BUTTON, STAY),
        END_RECORD),
    "steps": payload(
        POWER_ON_RECORD,
        record(TIME, 1, varint(1)),
        record(TIME, 12, varint(1)),
        record(TIME, FAR, varint(1), place=varint(1000)),
        record(CHECKPOINT, ONE_CHECKPOINT, blob(b"state")),
        record(MARK, ABSOLUTE, pack("<Q", 0), place=varint(5000) + varint(3))),
    "checks": payload(
        POWER_ON_RECORD,
        record(OUTPUT_MARK, STAY, varint(1)),
        record(AUDIT, STAY, pack("<Q", 1)),
        record(MARK, STAY, pack("<Q", 0)),
        END_RECORD),
    "two_lives": payload(
        POWER_ON_RECORD,
        record(END, STAY, bytes([1]), pack("<Q", 0)),
        POWER_ON_RECORD,
        END_RECORD),
    # All registers, then one that falls, then none; a register and a reason that there are not.
    "traces": payload(
        POWER_ON_RECORD,
        record(TRACE, 1, b"\1", varint(0x3f8), varint(1), varint((1 << 25) - 1), *(varint(2 * n) for n in range(25))),
        record(TIME, STAY, varint(1)),
        record(TRACE, 1, b"\6", varint(0), varint(0), varint(1 << 16), varint(7)),
        record(TRACE, 1, b"\6", varint(0), varint(0), varint(0)),
        END_RECORD),
    "no_register": payload(record(TRACE, 1, b"\0", varint(0), varint(0), varint(1 << 25), varint(1))),
    "no_reason": payload(record(TRACE, 1, b"\x0a", varint(0), varint(0), varint(0))),
    "mid_life": payload(record(MARK, 3, pack("<Q", 0))),
    "falls": payload(record(TIME, 5, varint(1)), record(TIME, ABSOLUTE, varint(1), place=varint(4) + varint(0))),
    "long_blob": payload(record(PACKET, STAY, varint(0), varint(1 << 62))),
    "no_kind": payload(bytes([0x0e])),
    "cut_off": payload(POWER_ON_RECORD, record(MARK, STAY, b"\0\0")),
    "not_zstd": payload(bytes(20), compressed=True, raw=100),
}


def batches_of_golden() -> dict[str, bytes]:
    content = GOLDEN.read_bytes()[GOLDEN_HEADER_BYTES:]
    seeds = {}
    while content:
        size = 40 + int.from_bytes(content[16:20], "little")
        seeds[f"golden_batch_{len(seeds)}"] = bytes([BATCH]) + content[:size]
        content = content[size:]
    return seeds


if __name__ == "__main__":
    folder = Path(__file__).resolve().parent / "corpus" / "log"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (SEEDS | batches_of_golden()).items():
        (folder / name).write_bytes(content)
