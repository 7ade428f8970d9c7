#!/usr/bin/env python3
"""Writes corpus/link: streams, messages, and what each end of the link is told, by docs/link.md alone."""

from pathlib import Path
from struct import pack

STREAM, MESSAGE, FRAMES, SENDER, RECEIVER, CLONE = range(6)
BEGINS, ROUND, ENDS, STANDS, FAILED, PROTECTED = range(6)
PAGE_BYTES, CHUNK_PAGES = 4096, 256
GUEST_PAGES = CHUNK_PAGES + 16  # Of the guest that the fuzzer clones.
(HELLO, WELCOME, REFUSAL, BATCH, ACK, CONTROL, CLONE_CONTROL, CLONE_PAGES, CLONE_STATE) = range(1, 10)
PROBE, GOODBYE = range(2)
HANDS_OVER, DETACHES = range(2)


def ack(received: int, replayed: int, answers: int, time: int = 0, verdict: int = 0) -> bytes:
    return pack("<QQQQB", received, replayed, answers, time, verdict)


def frame(kind: int, payload: bytes) -> bytes:
    """As the fuzzer takes it: it makes the header."""
    return bytes([kind - 1, len(payload)]) + payload


def frames(*each: bytes, flip: int = 0, slice_bytes: int = 5) -> bytes:
    return pack("<BHB", FRAMES, flip, slice_bytes) + b"".join(each)


def message(number: int, numbers: str = "", *values: int) -> bytes:
    """Of a clone; `numbers` as struct has them."""
    return bytes([number]) + pack("<" + numbers, *values)


def pages(first: int, count: int, fill: int) -> bytes:
    """Pages `first` to `first + count` of one chunk, each byte of them `fill`: a frame of zstd with RLE blocks alone."""
    chunk = first // CHUNK_PAGES * CHUNK_PAGES
    bits = ((1 << count) - 1) << (first - chunk)
    size = count * PAGE_BYTES
    # Its magic, a content size of 4 bytes, then a block for each page.
    data = pack("<IBI", 0xfd2fb528, 0xa0, size)
    for page in range(count):
        data += pack("<I", PAGE_BYTES << 3 | 1 << 1 | int(page == count - 1))[:3] + bytes([fill])
    return pack("<IIQ", 1, len(data), chunk) + bits.to_bytes(CHUNK_PAGES // 8, "little") + data


def clone(*controls_and_parts: bytes) -> bytes:
    return bytes([CLONE]) + b"".join(controls_and_parts)


def header(kind: int, size: int) -> bytes:
    return pack("<HBBII", 0x5646, kind, 0, size, 0)


ALL = (frame(HELLO, b"hello"), frame(BATCH, bytes(60)), frame(ACK, ack(2, 1, 1)), frame(CONTROL, bytes([PROBE, 0])),
       frame(CONTROL, bytes([GOODBYE, DETACHES])), frame(CLONE_PAGES, bytes(200)))

BEGINNING = message(BEGINS, "Q", GUEST_PAGES)
WHOLE = (frame(CLONE_CONTROL, BEGINNING), frame(CLONE_CONTROL, message(ROUND, "IQ", 1, GUEST_PAGES)),
         frame(CLONE_PAGES, pages(3, 5, 1)), frame(CLONE_PAGES, pages(GUEST_PAGES - 2, 2, 2)),
         frame(CLONE_CONTROL, message(ROUND, "IQ", 2, 1)), frame(CLONE_PAGES, pages(4, 1, 3)),
         frame(CLONE_STATE, b"message"), frame(CLONE_STATE, b"bulk"),
         frame(CLONE_CONTROL, message(ENDS, "QQQQ", 7, 4, 8, 812)))

SEEDS = {
    # A header whose checksum is wrong, one that announces too much, and none.
    "stream": bytes([STREAM]) + header(ACK, 33) + ack(2, 1, 1),
    "too_large": bytes([STREAM]) + header(BATCH, 0x7fff_ffff) + bytes(40),
    "not_a_frame": bytes([STREAM]) + b"GET / HTTP/1.1\r\n\r\n",
    "ack": bytes([MESSAGE]) + ack(9, 7, 5, 1_000_000, 1),
    "ack_of_nonsense": bytes([MESSAGE]) + ack(7, 9, 5),
    "control": bytes([MESSAGE, GOODBYE, DETACHES]),
    "frames": frames(*ALL),
    "frames_by_byte": frames(*ALL, slice_bytes=0),
    "frames_changed": frames(*ALL, flip=250),
    # Steps: time that passes, then 1 and the three numbers of an ack, or 0 and a frame.
    "sender": bytes([SENDER, 10, 1, 0, 0, 1, 50, 1, 2, 1, 2, 59, 1, 5, 5, 5, 20, 0]) + frame(CONTROL, bytes([1, 0])),
    "sender_that_is_lied_to": bytes([SENDER, 10, 1, 15, 0, 1, 5, 1, 1, 1, 1]),
    # Steps: 1 and how far the batch is from the one that is due, or 0 and a frame; then whether it is replayed.
    "receiver": bytes([RECEIVER, 1, 0, 1, 1, 0, 0, 0]) + frame(CONTROL, bytes([0, 0])) + bytes([1, 1, 0, 1, 0])
    + frame(CONTROL, bytes([1, 1])) + bytes([0, 1, 0, 0]),
    "clone_begins": bytes([MESSAGE]) + BEGINNING,
    "clone_round": bytes([MESSAGE]) + message(ROUND, "IQ", 2, 600),
    "clone_ends": bytes([MESSAGE]) + message(ENDS, "QQQQ", 5, 6, 7, 8),
    "clone_stands": bytes([MESSAGE]) + message(STANDS),
    "clone_failed": bytes([MESSAGE]) + message(FAILED) + b"\x09no KVM\x1b[m",
    "clone_protected": bytes([MESSAGE]) + message(PROTECTED, "Q", 7),
    "clone": clone(*WHOLE),
    "clone_behind_its_end": clone(*WHOLE, frame(CLONE_STATE, b"more")),
    "clone_begins_twice": clone(WHOLE[0], WHOLE[0]),
    "clone_without_beginning": clone(*WHOLE[1:]),
    "clone_of_another_guest": clone(frame(CLONE_CONTROL, message(BEGINS, "Q", GUEST_PAGES + 1))),
    "clone_of_no_memory": clone(WHOLE[0], frame(CLONE_PAGES, pages(GUEST_PAGES - 1, 2, 7))),
    "clone_without_a_page": clone(*WHOLE[:2], *WHOLE[3:]),
    "clone_and_protected": clone(WHOLE[0], frame(CLONE_CONTROL, message(PROTECTED, "Q", 7))),
    "receiver_with_a_gap": bytes([RECEIVER, 1, 0, 0, 1, 1, 0, 1, 0, 0]),
}

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent / "corpus" / "link"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (folder / name).write_bytes(content)
