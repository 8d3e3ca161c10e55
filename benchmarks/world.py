"""What the embedded world costs on one core, and how well the oracle reads it.

    python benchmarks/world.py --count 10000      about ten minutes; 1,000 by default

Prints pictures a second of the renderer, examples a second of the world (scene, text, claim and
picture), and for pictures as rendered, under noise of sigma 8/255 and under JPEG quality 75 the
oracle's reads a second and the share of scenes it recovers whole: background, all attributes of all
objects, places within 2 px of 32. Of as many examples, of all splits in turn, what the oracle reads
from the picture is held against the example's own caption and against four near misses, each false
of its scene: the share of either that it accepts.
"""

import argparse
import io
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from PIL import Image

from vismem import worlds
from vismem.errors import exit_code
from vismem.worlds import oracle
from vismem.worlds.render import render
from vismem.worlds.scene import PRESETS, sample_scene
from vismem.worlds.scores import recovered
from vismem.worlds.world import SPLITS

NEAR = 4  # near misses of each caption


def noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(image + rng.normal(0, 8, image.shape)), 0, 255).astype(np.uint8)


def compressed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


DISTURBANCES = {"as rendered": lambda image, rng: image, "noise": noisy, "jpeg": compressed}


def rate(work: Callable[[int], object], count: int) -> float:
    """Calls of `work(i)` a second, after a first call that fills the caches."""
    work(0)
    start = time.perf_counter()
    for i in range(count):
        work(i)
    return count / (time.perf_counter() - start)


def measure(name: str, size: int, count: int) -> None:
    """Prints the figures of one preset at one picture size."""
    rng = np.random.default_rng(0)
    preset, world = PRESETS[name], worlds.world(name)
    # As many of each number of things, the `length` split's included.
    scenes = [sample_scene(rng, preset, 1 + i % (preset.most + 1)) for i in range(count)]
    images = [render(scene, size) for scene in scenes]
    drawn = rate(lambda i: render(scenes[i], size), count)
    made = rate(lambda i: world.example("train", i).image(size), count)
    print(f"{name} at {size} px: {drawn:,.0f} pictures/s, {made:,.0f} examples/s")
    for how, disturb in DISTURBANCES.items():
        shown = [disturb(image, rng) for image in images]
        oracle.read(shown[0])  # draws its templates
        start = time.perf_counter()
        read = [oracle.read(image) for image in shown]
        speed = count / (time.perf_counter() - start)
        whole = np.mean([recovered(a, b) for a, b in zip(scenes, read)])
        print(f"  {how:12} {whole:8.2%} of scenes recovered, {speed:6,.0f} reads/s", flush=True)
    own, missed = 0, 0
    for i in range(count):
        example = world.example(SPLITS[i % len(SPLITS)], i)
        read = oracle.read(example.image(size))
        own += example.claim.holds(read)
        missed += sum(example.near_miss(which).claim.holds(read) for which in range(NEAR))
    print(
        f"  accepted: {own / count:.2%} of captions, {missed / (NEAR * count):.4%} of "
        f"{NEAR * count:,} near misses ({missed})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="pictures a line (default 1000)")
    count = parser.parse_args().count
    for name, size in (("tiny", 32), ("default", 32), ("default", 64)):
        measure(name, size, count)


if __name__ == "__main__":
    sys.exit(exit_code("world.py", main))
