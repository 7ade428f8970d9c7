"""The `build` command."""

from __future__ import annotations

import sys
import time

from ftvmm_testbed.errors import TestbedError
from ftvmm_testbed.instance import select

from . import images

USAGE = f"""usage: tests/guest-image/build IMAGE...

Makes the images of guests for tests, unless they are there: {', '.join(images.names())}, or all.
They are put under build/guest-images/.  See docs/guest-images.md."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def build(wanted: list[str]) -> None:
    start = time.monotonic()
    instance = select(None)
    for recipe in images.recipes_of(wanted):
        made = images.build(instance, recipe, lambda text: say(f"{time.monotonic() - start:6.1f} s  {text}"))
        what = f"built in {time.monotonic() - start:.0f} s" if made else "up to date"
        say(f"{' and '.join(recipe.images)}: {what}, under {images.root(instance)}")


def main(argv: list[str]) -> int:
    if argv in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    try:
        if not argv:
            raise TestbedError(f"name the images to make: {', '.join(images.names())} or all")
        build(argv)
        return 0
    except TestbedError as error:
        say(f"guest-image: {error}")
        return 1
    except KeyboardInterrupt:
        say("guest-image: interrupted")
        return 130
