"""Recipes: scripts and files that decide what an image holds.

An image is made once per content of its recipe.  It is complete or absent: it is made in a folder of its
own, which gets its name by one rename at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from . import requirements
from .errors import TestbedError

TICK_S = 15

Tell = Callable[[str], None]


def content_hash(words: str, *folders: Path) -> str:
    """Changes whenever `words` or a file of the folders, its name or its mode changes, and else stays."""
    digest = hashlib.sha256(f"{words}\n".encode())
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            executable = bool(path.stat().st_mode & 0o100)
            data = path.read_bytes()
            digest.update(f"{path.relative_to(folder)} {executable} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:12]


def require_disk(folder: Path, needed_mib: int) -> None:
    free = shutil.disk_usage(folder).free >> 20
    if free < needed_mib:
        raise TestbedError(f"{needed_mib} MiB of disk needed under {folder}, {free} free")


def make_once(target: Path, lock_file: Path, make: Callable[[Path], None]) -> bool:
    """Has `make` fill a folder, which becomes `target`, unless that is there.  Returns whether it had to.

    Callers with the same lock file take turns.
    """
    if target.exists():
        return False
    with open(lock_file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return False
        kind = target.name.rsplit("-", 1)[0]
        for leftover in target.parent.glob(f"tmp-{kind}-*"):
            shutil.rmtree(leftover)
        work = target.parent / f"tmp-{kind}-{os.getpid()}"
        work.mkdir()
        try:
            make(work)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return True


def run_script(command: list[str], log_path: Path, tell: Tell) -> None:
    """Runs the script in mount and pid namespaces that end with this process, however it ends.

    Its lines that begin with "== " are told as progress; all it prints goes to the log.
    """
    done = threading.Event()

    def tick() -> None:
        while not done.wait(TICK_S):
            tell("still at it")

    with open(log_path, "w") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL",
             "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PATH": requirements.SEARCH_PATH}, errors="replace",
        )  # fmt: skip
        threading.Thread(target=tick, daemon=True).start()
        try:
            last = ""
            for line in process.stdout:
                log.write(line)
                last = line.strip() or last
                if line.startswith("== "):
                    tell(line[3:].strip())
            code = process.wait()
        finally:
            done.set()
            process.kill()
            process.wait()
    if code != 0:
        raise TestbedError(f"the image was not built ({last}): see {log_path}")
