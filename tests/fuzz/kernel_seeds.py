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
# A site in both modes, then what is a constant in 64-bit mode and a site in 32-bit mode.
VDSO_CODE = bytes.fromhex("48 0f31 90 48b8909090900f319090 c3")


def vdso(elf_class: int, machine: int) -> bytes:
    """A shared object as Linux has them in its data: ELF class 1 or 2, machine 3 (i386) or 62 (x86-64)."""
    word, header, entry = ("I", 52, 40) if elf_class == 1 else ("Q", 64, 64)
    strings, symbols, names = b"\0linux-vdso.so.1\0", bytes(24), b"\0.text\0.shstrtab\0"
    at = [header]
    for part in (strings, symbols, VDSO_CODE, names):
        at.append(at[-1] + len(part))
    tables = [(0,) * 10,
              (0, 3, 2, 0, at[0], len(strings), 0, 0, 1, 0),
              (0, 11, 2, 0, at[1], len(symbols), 1, 1, 8, 24),
              (1, 1, 6, at[2], at[2], len(VDSO_CODE), 0, 0, 1, 0),
              (7, 3, 0, 0, at[3], len(names), 0, 0, 1, 0)]
    start = pack(f"<16sHHI3{word}IHHHHHH", b"\x7fELF" + bytes([elf_class, 1, 1]), 3, machine, 1, 0, 0, at[4], 0, header,
                 0, 0, entry, len(tables), len(tables) - 1)
    headers = b"".join(pack(f"<II4{word}II2{word}", *table) for table in tables)
    return start + strings + symbols + VDSO_CODE + names + headers


def elf(code: bytes, sections: bool = True, functions: tuple[int, ...] = (), data: bytes = b"") -> bytes:
    """One segment and, by choice, .text and .init.text that share its code, with symbols of functions, and .data."""
    split = len(code) // 2
    body = bytearray(CODE_OFFSET) + code
    tables: list[tuple[int, ...]] = []
    if sections:
        symbols = bytes(24) + b"".join(pack("<IBBHQQ", 0, 2, 0, 1, VIRTUAL + at, 1) for at in functions)
        names = NAMES + b".data\0" if data else NAMES
        names_at, symbols_at = len(body), len(body) + len(names)
        body += names + symbols
        tables = [(0,) * 10,
                  (1, 1, 4, VIRTUAL, CODE_OFFSET, split, 0, 0, 1, 0),
                  (7, 1, 4, VIRTUAL + split, CODE_OFFSET + split, len(code) - split, 0, 0, 1, 0),
                  (18, 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
                  (28, 2, 0, 0, symbols_at, len(symbols), 3, 1, 8, 24)]
        if data:
            tables.append((len(NAMES), 1, 2, VIRTUAL + 0x1000, len(body), len(data), 0, 0, 1, 0))
            body += data
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
    "elf_vdso": elf(CODE, data=vdso(2, 62)),
    "elf_vdso_32_bit": elf(CODE, data=vdso(1, 3)),
    "elf_vdso_x32": elf(CODE, data=vdso(1, 62)),
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
    "code_32_bit": b"\4" + VDSO_CODE,
    "table_32_bit": b"\4" + VDSO_CODE + bytes.fromhex("0f04 0f04 0f04 0f31 c3"),
    "shifted": b"\0" + bytes.fromhex("05") * 160 + CODE,
}

if __name__ == "__main__":
    for corpus, seeds in {"kernel": KERNELS, "tsc_sites": TSC_SITES}.items():
        folder = Path(__file__).resolve().parent / "corpus" / corpus
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)
