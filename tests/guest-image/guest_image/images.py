"""What images there are, where they are, and how one is made.

A recipe is a folder here with a script `make`.  Recipe `quick` makes one image; recipe `debian` makes
two, which differ in their kernel alone.  Images are kept under the hash of their recipe; the name of an
image is a link to its newest.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ftvmm_testbed import requirements
from ftvmm_testbed.errors import TestbedError
from ftvmm_testbed.instance import Instance
from ftvmm_testbed.recipe import Tell, content_hash, make_once, require_disk, run_script

HERE = Path(__file__).resolve().parents[1]
COMMON = HERE / "common"  # what goes into every guest
FORMAT = 1  # raised when the files of an image change their meaning

# Tool -> the Debian package that has it.
TOOLS = requirements.BUILD_TOOLS | {"dpkg-deb": "dpkg", "depmod": "kmod", "modprobe": "kmod"}


@dataclass(frozen=True)
class Recipe:
    name: str
    images: tuple[str, ...]
    memory_mib: int  # the trees are put together in memory
    disk_mib: int

    @property
    def folder(self) -> Path:
        return HERE / self.name

    def hash(self) -> str:
        words = f"format {FORMAT} mirror {os.environ.get('FTVMM_TESTBED_MIRROR', '')}"
        return content_hash(words, COMMON, self.folder)


RECIPES = (Recipe("quick", ("quick",), 700, 500), Recipe("debian", ("cloud", "generic"), 3500, 5000))


def names() -> list[str]:
    return [image for recipe in RECIPES for image in recipe.images]


def recipes_of(wanted: list[str]) -> list[Recipe]:
    """The recipes that make the images, each once.  `all` means every image."""
    for name in wanted:
        if name not in (*names(), "all"):
            raise TestbedError(f"there is no guest image '{name}': use {', '.join(names())} or all")
    return [r for r in RECIPES if "all" in wanted or set(wanted) & set(r.images)]


def root(instance: Instance) -> Path:
    return instance.build_dir / "guest-images"


def build(instance: Instance, recipe: Recipe, tell: Tell) -> bool:
    """Makes the images of a recipe unless they are there.  Returns whether it had to."""
    requirements.check_root()
    folder = root(instance)
    target = folder / f"{recipe.name}-{recipe.hash()}"
    made = False
    if not target.exists():
        requirements.check_tools(TOOLS)
        for path in (folder, instance.cache_dir):
            path.mkdir(parents=True, exist_ok=True)
        require_disk(folder, recipe.disk_mib)
        requirements.check_memory(recipe.memory_mib)

        def make(work: Path) -> None:
            script = [str(recipe.folder / "make"), str(HERE), str(work), str(instance.deb_cache)]
            run_script(script, folder / f"{recipe.name}.log", tell)

        made = make_once(target, instance.build_lock, make)
    for image in recipe.images:
        _link(folder / image, f"{target.name}/{image}")
    if not instance.any_running():
        _remove_old(target, recipe)
    return made


def _link(path: Path, target: str) -> None:
    """Points `path` at `target` in one step: whoever looks sees the old image or the new one."""
    if path.is_symlink() and os.readlink(path) == target:
        return
    fresh = path.with_name(f"tmp-link-{path.name}-{os.getpid()}")
    fresh.symlink_to(target)
    fresh.rename(path)


def _remove_old(current: Path, recipe: Recipe) -> None:
    for path in current.parent.glob(f"{recipe.name}-*"):
        if path != current and not path.is_symlink():
            shutil.rmtree(path)
