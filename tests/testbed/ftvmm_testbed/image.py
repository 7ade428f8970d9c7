"""The host image: built once per recipe and cached under the build tree."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import requirements
from .errors import TestbedError
from .instance import Instance
from .recipe import Tell, content_hash, make_once, require_disk, run_script

FORMAT = 1  # raised when the files of an image change their meaning
RECIPE = Path(__file__).resolve().parents[1] / "image"
FREE_DISK_MIB = 4000


def recipe_hash(recipe: Path = RECIPE) -> str:
    """Changes whenever a file of the recipe, its name or its mode changes, and else stays."""
    return content_hash(f"format {FORMAT} mirror {os.environ.get('FTVMM_TESTBED_MIRROR', '')}", recipe)


def image_dir(instance: Instance) -> Path:
    return instance.cache_dir / f"image-{recipe_hash()}"


def require_image(instance: Instance) -> Path:
    path = image_dir(instance)
    if not path.exists():
        stale = any(instance.cache_dir.glob("image-*"))
        what = "is older than its recipe" if stale else "is not built"
        raise TestbedError(f"the host image {what}: run `testbed build` (a few minutes, once)")
    return path


def build(instance: Instance, tell: Tell) -> bool:
    """Makes the image unless it is there.  Returns whether it had to.  Two builds take turns."""
    requirements.check_root()
    target = image_dir(instance)
    if target.exists():
        return False
    requirements.check_tools(requirements.BUILD_TOOLS)
    cache = instance.cache_dir
    cache.mkdir(parents=True, exist_ok=True)
    require_disk(cache, FREE_DISK_MIB)
    requirements.check_memory(2500)  # the tree is put together in memory

    def make(work: Path) -> None:
        script = [str(RECIPE / "make-image.sh"), str(RECIPE), str(work), str(instance.deb_cache)]
        run_script(script, cache / "build.log", tell)

    made = make_once(target, instance.build_lock, make)
    if made:
        _remove_old(instance, target)
    return made


def _remove_old(instance: Instance, current: Path) -> None:
    """Drops images of older recipes, unless a testbed of this checkout may still boot from one."""
    if instance.any_running():
        return
    for path in instance.cache_dir.glob("image-*"):
        if path != current:
            shutil.rmtree(path)
