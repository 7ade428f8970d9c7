#!/usr/bin/env python3
"""Writes corpus/beat: beats by docs/heartbeat.md alone, good ones and what must be refused."""

from pathlib import Path
from struct import pack

ANY, TAGGED, HONEST, SEND = range(4)
PRIMARY, SECONDARY, GOING_LIVE = 1, 2, 3


def covered(magic: bytes = b"FTVH", version: int = 1, role: int = SECONDARY, reserved: int = 0, vm: bytes = bytes(16),
            generation: int = 0, number: int = 1, sent_at: int = 0, echo: int = 0) -> bytes:
    """What the tag covers."""
    return magic + pack("<BBH", version, role, reserved) + vm + pack("<QQQQ", generation, number, sent_at, echo)


def tagged(**fields) -> bytes:
    return bytes([TAGGED]) + covered(**fields)


def any_bytes(content: bytes) -> bytes:
    return bytes([ANY, len(content)]) + content


def honest(role: int, number: int, echo: int = 0) -> bytes:
    answer = b"" if role == GOING_LIVE else pack("<H", echo)
    return bytes([HONEST, role - 1]) + pack("<HQ", number - 1, 0) + answer


def send(role: int = PRIMARY, after_ms: int = 50) -> bytes:
    return bytes([SEND, after_ms, role - 1])


SEEDS = {
    "talk": send() + honest(SECONDARY, 1, 1) + send() + honest(SECONDARY, 2, 2) + send() + honest(GOING_LIVE, 3),
    "overtaken": send() * 3 + honest(SECONDARY, 2, 3) + honest(SECONDARY, 1, 2) + send(),
    "repeated": send() + honest(SECONDARY, 1, 1) * 2,
    "window": honest(SECONDARY, 200) + honest(SECONDARY, 73) + honest(SECONDARY, 72) + honest(SECONDARY, 1),
    "unsent": honest(SECONDARY, 1, 1) + send() + honest(SECONDARY, 1, 1),
    "forgotten": send() * 257 + honest(SECONDARY, 1, 1) + honest(SECONDARY, 2, 2),
    "going_live": honest(PRIMARY, 1) + send(GOING_LIVE) + send(SECONDARY),
    "fields": tagged() + tagged(number=0) + tagged(role=0) + tagged(role=4) + tagged(reserved=1)
    + tagged(role=GOING_LIVE, echo=1) + tagged(magic=b"FTVB") + tagged(version=2),
    "others": tagged(vm=bytes(15) + b"\1") + tagged(generation=1) + tagged(number=2**64 - 1) + tagged(number=1),
    "forged": any_bytes(covered() + bytes(32)) + any_bytes(covered()) + any_bytes(b"") + any_bytes(b"FTVH"),
}

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent / "corpus" / "beat"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (folder / name).write_bytes(content)
