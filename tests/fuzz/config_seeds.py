#!/usr/bin/env python3
"""Writes corpus/config: the example of docs/vm-toml.md, every key once, and some of what users get wrong."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLE = re.search(r"```toml\n(.*?)```", (HERE.parents[1] / "docs" / "vm-toml.md").read_text(), re.DOTALL)[1]
UUID = 'uuid = "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67"'
SMALL = f'name = "a"\n{UUID}\nmemory = 64\nkernel = "k"\n'

SEEDS = {
    "example": EXAMPLE,
    "small": SMALL,
    "all": SMALL + 'initrd = "/i"\ncmdline = "quiet"\ncpu.model = "v3"\n[[disk]]\npath = "a"\nread_only = true\n'
           'serial = "root"\n[[disk]]\npath = "../b"\n[[nic]]\nmac = "52:54:00:12:34:56"\ntap = "tap0"\n[[nic]]\n'
           'mac = "52:54:00:12:34:57"\nbridge = "br0"\n[console]\nkind = "virtio"\nlog = "l"\n',
    "twice": SMALL + '[[disk]]\npath = "a"\nserial = "s"\n[[disk]]\npath = "./a"\nserial = "s"\n',
    "unknown_keys": SMALL + 'memroy = 1\n[cpu]\nmodell = "v4"\n[[nic]]\nmac = "01:00:00:00:00:00"\n',
    "other_types": 'name = 1\nuuid = []\nmemory = 1.5\nkernel = {}\ndisk = 3\nconsole = "serial"\n',
    "not_toml": "[[[",
    "a_letter_for_a_key": "\N{LATIN SMALL LETTER U WITH DIAERESIS} = 1\n",
    "strings": 'name = """\\\n  \N{SECTION SIGN}"""\ncmdline = \'\'\'a\nb\'\'\'\nkernel = "\\u0000"\n',
}

if __name__ == "__main__":
    folder = HERE / "corpus" / "config"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in SEEDS.items():
        (folder / name).write_text(content)
