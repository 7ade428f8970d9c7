"""The host image: built once per recipe and cached under the build tree.

The recipe is everything that decides what the image holds.  An image is complete or absent: it is
made in a folder of its own, which gets its name by one rename at the end.
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
from .instance import Instance

FORMAT = 1  # raised when the files of an image change their meaning
RECIPE = Path(__file__).resolve().parents[1] / "image"
FREE_DISK_MIB = 4000
TICK_S = 15


def recipe_hash(recipe: Path = RECIPE) -> str:
    """Changes whenever a file of the recipe, its name or its mode changes, and else stays."""
    digest = hashlib.sha256(f"format {FORMAT} mirror {os.environ.get('FTVMM_TESTBED_MIRROR', '')}\n".encode())
    for path in sorted(p for p in recipe.rglob("*") if p.is_file()):
        executable = bool(path.stat().st_mode & 0o100)
        data = path.read_bytes()
        digest.update(f"{path.relative_to(recipe)} {executable} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:12]


def image_dir(instance: Instance) -> Path:
    return instance.cache_dir / f"image-{recipe_hash()}"


def require_image(instance: Instance) -> Path:
    path = image_dir(instance)
    if not path.exists():
        stale = any(instance.cache_dir.glob("image-*"))
        what = "is older than its recipe" if stale else "is not built"
        raise TestbedError(f"the host image {what}: run `testbed build` (a few minutes, once)")
    return path


def build(instance: Instance, tell: Callable[[str], None]) -> bool:
    """Makes the image unless it is there.  Returns whether it had to.  Two builds take turns."""
    requirements.check_root()
    target = image_dir(instance)
    if target.exists():
        return False
    requirements.check_tools(requirements.BUILD_TOOLS)
    instance.cache_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(instance.cache_dir).free >> 20
    if free < FREE_DISK_MIB:
        raise TestbedError(f"{FREE_DISK_MIB} MiB of disk needed under {instance.cache_dir}, {free} free")
    requirements.check_memory(2500)  # the tree is put together in memory
    with open(instance.cache_dir / "build.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return False
        for leftover in instance.cache_dir.glob("tmp-image-*"):
            shutil.rmtree(leftover)
        work = instance.cache_dir / f"tmp-image-{os.getpid()}"
        work.mkdir()
        try:
            _run_recipe(work, instance.cache_dir, tell)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        _remove_old(instance, target)
    return True


def _run_recipe(work: Path, cache: Path, tell: Callable[[str], None]) -> None:
    """make-image.sh in mount and pid namespaces that end with this process, however it ends."""
    log_path = cache / "build.log"
    done = threading.Event()

    def tick() -> None:
        while not done.wait(TICK_S):
            tell("still at it")

    with open(log_path, "w") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL",
             "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
             str(RECIPE / "make-image.sh"), str(RECIPE), str(work), str(cache / "debs")],
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


def _remove_old(instance: Instance, current: Path) -> None:
    """Drops images of older recipes, unless a testbed of this checkout may still boot from one."""
    if any(instance.cache_dir.glob("run-*")):
        return
    for path in instance.cache_dir.glob("image-*"):
        if path != current:
            shutil.rmtree(path)

