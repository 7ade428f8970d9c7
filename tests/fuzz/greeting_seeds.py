#!/usr/bin/env python3
"""Writes corpus/greeting: what a peer says that agrees, that refuses, and that does neither."""

from pathlib import Path

FRAMES, STREAM = 0, 1
CONNECTS, ACCEPTS = 0, 1
HELLO, WELCOME, REFUSAL, BATCH = range(4)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def hello(**changes) -> bytes:
    values = dict(version=1, build=b"0.1.0", cpu=b"c", uuid=b"u", generation=7, dead_after=400, role=2, host=b"b",
                  machine=b"n", memory=64, first=5) | changes
    return b"".join(field(number, value) for number, value in enumerate(values.values(), 1))


def frames(side: int, *said: tuple[int, bytes]) -> bytes:
    return bytes([side, FRAMES]) + b"".join(bytes([kind, len(text)]) + text for kind, text in said)


REFUSED = b"".join(field(number, text) for number, text in enumerate((b"the build", b"1", b"2", b"update"), 1))

SEEDS = {
    "agrees": frames(ACCEPTS, (HELLO, hello()), (WELCOME, b"")),
    "connects_and_agrees": frames(CONNECTS, (HELLO, hello()), (WELCOME, b"")),
    "another_build": frames(ACCEPTS, (HELLO, hello(build=b"0.2.0"))),
    "another_version": frames(CONNECTS, (HELLO, hello(version=2, role=9))),
    "another_host": frames(ACCEPTS, (HELLO, hello(host=b"c"))),
    "same_machine": frames(ACCEPTS, (HELLO, hello(machine=b"m"))),
    "no_role": frames(ACCEPTS, (HELLO, hello(role=3))),
    "not_printable": frames(ACCEPTS, (HELLO, hello(build=b"a\nb"))),
    "another_dead_after": frames(ACCEPTS, (HELLO, hello(dead_after=500))),
    "large_numbers": frames(ACCEPTS, (HELLO, hello(generation=2**64 - 1, dead_after=2**32 - 1, memory=2**64 - 1,
                                                   first=2**64 - 1))),
    "refuses": frames(CONNECTS, (REFUSAL, REFUSED)),
    "refuses_later": frames(CONNECTS, (HELLO, hello()), (REFUSAL, REFUSED)),
    "welcome_first": frames(ACCEPTS, (WELCOME, b"")),
    "hello_twice": frames(ACCEPTS, (HELLO, hello()), (HELLO, hello())),
    "a_batch": frames(ACCEPTS, (HELLO, hello()), (BATCH, b"x")),
    "stream": bytes([ACCEPTS, STREAM]) + b"FV" + bytes(10),
}

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent / "corpus" / "greeting"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (folder / name).write_bytes(content)
