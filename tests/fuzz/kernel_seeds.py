#!/usr/bin/env python3
"""Writes corpus/kernel and corpus/tsc_sites: small kernels in every form that distributions use, and code."""

import gzip
import lzma
from pathlib import Path
from struct import pack, pack_into

PHYSICAL = 0x200000
VIRTUAL = 0xffffffff81000000
CODE_OFFSET = 0x200
NAMES = b"\0.text\0.init.text\0.shstrtab\0.symtab\0"

# nop, rdtsc, mov $0x310f,%eax, rdtscp, ret
CODE = bytes.fromhex("90 0f31 b80f310000 0f01f9 c3")
# A table between two functions: what does not decode, just before RDTSC's bytes.
TABLE = CODE + bytes.fromhex("06 0e 16 1e 0f31 c3")


def elf(code: bytes, sections: bool = True, functions: tuple[int, ...] = ()) -> bytes:
    """One segment and, by choice, .text and .init.text that share its code, with symbols of functions."""
    split = len(code) // 2
    body = bytearray(CODE_OFFSET) + code
    tables: list[tuple[int, ...]] = []
    if sections:
        symbols = bytes(24) + b"".join(pack("<IBBHQQ", 0, 2, 0, 1, VIRTUAL + at, 1) for at in functions)
        names_at, symbols_at = len(body), len(body) + len(NAMES)
        body += NAMES + symbols
        tables = [(0,) * 10,
                  (1, 1, 4, VIRTUAL, CODE_OFFSET, split, 0, 0, 1, 0),
                  (7, 1, 4, VIRTUAL + split, CODE_OFFSET + split, len(code) - split, 0, 0, 1, 0),
                  (18, 3, 0, 0, names_at, len(NAMES), 0, 0, 1, 0),
                  (28, 2, 0, 0, symbols_at, len(symbols), 3, 1, 8, 24)]
    pack_into("<16sHHIQQQIHHHHHH", body, 0, b"\x7fELF\2\1\1", 2, 62, 1, PHYSICAL, 64, len(body) if sections else 0, 0,
              64, 56, 1, 64 if sections else 0, len(tables), 3 if sections else 0)
    pack_into("<IIQQQQQQ", body, 64, 1, 5, CODE_OFFSET, VIRTUAL, PHYSICAL, len(code), 0x4000, 0x1000)
    return bytes(body) + b"".join(pack("<IIQQQQIIQQ", *table) for table in tables)


def pack_xz(content: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 1}]
    return lzma.compress(content, check=lzma.CHECK_CRC32, filters=filters)


def pack_lz4(content: bytes) -> bytes:
    """The legacy framing with one block of nothing but literals."""
    more, rest = divmod(len(content) - 15, 255)
    block = b"\xf0" + b"\xff" * more + bytes([rest]) + content
    return pack("<II", 0x184c2102, len(block)) + block


def pack_zstd(content: bytes) -> bytes:
    """A frame with one raw block."""
    return b"\x28\xb5\x2f\xfd\xa0" + pack("<I", len(content)) + pack("<I", len(content) << 3 | 1)[:3] + content


def bzimage(payload: bytes) -> bytes:
    setup = bytearray(1024)
    setup[0x1f1] = 1
    pack_into("<HHIH", setup, 0x1fe, 0xaa55, 0x66eb, 0x53726448, 0x20f)
    pack_into("<I", setup, 0x22c, 0x7fffffff)
    pack_into("<HI", setup, 0x236, 1, 2047)
    pack_into("<II", setup, 0x248, 0, len(payload))
    return bytes(setup) + payload


KERNEL = elf(CODE)
SIZE = pack("<I", len(KERNEL))
KERNELS = {
    "elf": KERNEL,
    "elf_functions": elf(TABLE * 8, functions=(0, 12, 40)),
    "elf_without_sections": elf(CODE, sections=False),
    "elf_noise": elf(b"\x06" * 200),
    "elf_long": elf(b"\x90" * 3000 + TABLE),
    "gzip": bzimage(gzip.compress(KERNEL, mtime=0)),
    "xz": bzimage(pack_xz(KERNEL) + SIZE),
    "lz4": bzimage(pack_lz4(KERNEL) + SIZE),
    "zstd": bzimage(pack_zstd(KERNEL) + SIZE),
    "plain": bzimage(KERNEL),
    "wrong_size": bzimage(pack_zstd(KERNEL) + pack("<I", len(KERNEL) - 1)),
}
TSC_SITES = {
    "code": b"\0" + CODE,
    "table": b"\0" + TABLE,
    "functions": b"\3\0\x0c\x11" + TABLE,
    "prefixes": b"\0" + bytes.fromhex("66f30f31 480f31 2e670f01f9 c5f80f31"),
    "far": b"\0" + b"\x90" * 140 + CODE,
    "shifted": b"\0" + bytes.fromhex("05") * 160 + CODE,
}

if __name__ == "__main__":
    for corpus, seeds in {"kernel": KERNELS, "tsc_sites": TSC_SITES}.items():
        folder = Path(__file__).resolve().parent / "corpus" / corpus
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)
