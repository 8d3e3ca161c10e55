import itertools

import numpy as np
import pytest

from vismem.errors import UserError
from vismem.worlds.render import coverage, render
from vismem.worlds.scene import (
    BACKGROUNDS,
    COLORS,
    FILLS,
    PRESETS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    sample_scene,
)

KINDS = list(itertools.product(SHAPES, SIZES, FILLS))


def ink(thing, size):
    """[size, size], the share of the thing's colour in each pixel."""
    picture = render(Scene((thing,), "black"), size).astype(float)
    color, black = np.array(COLORS[thing.color]), np.array(BACKGROUNDS["black"])
    return (picture - black) @ (color - black) / ((color - black) ** 2).sum()


@pytest.mark.parametrize(("shape", "size", "fill"), KINDS)
def test_a_thing_is_centred_on_its_place(shape, size, fill):
    amount = ink(Thing(shape, "yellow", size, fill, 0.413, 0.583), 64)
    centres = np.arange(64) + 0.5
    x, y = (sums @ centres / amount.sum() for sums in (amount.sum(0), amount.sum(1)))
    # An eighth of a pixel is the grid of places; bars and corners shift the rest a little.
    assert abs(x - 0.413 * 64) < 0.2
    assert abs(y - 0.583 * 64) < 0.5


@pytest.mark.parametrize(("shape", "size", "fill"), KINDS)
def test_the_area_does_not_depend_on_resolution(shape, size, fill):
    areas = [
        ink(Thing(shape, "yellow", size, fill, 0.5, 0.5), s).sum() / s**2 for s in (32, 64, 256)
    ]
    assert max(areas) - min(areas) < 0.05 * max(areas)


def test_areas_of_shapes_as_geometry_has_them():
    radius = 40
    areas = {s: coverage(s, radius, "solid", 0, 0).sum() / radius**2 for s in SHAPES}
    expected = {
        "circle": np.pi,
        "square": 1.8**2,
        "triangle": 1.3**2 * 3 * np.sqrt(3) / 4,
        "diamond": 2 * 1.2**2,
        "cross": 4 * 0.4 * 1.1 * 2 - 4 * 0.4**2,
        "star": 5 * 1.3 * 0.56 * np.sin(np.pi / 5),
    }
    assert areas == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_pictures_are_antialiased_and_reproducible(size):
    scene = sample_scene(np.random.default_rng(1), PRESETS["default"], 4)
    picture = render(scene, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert (picture == render(scene, size)).all()
    plain = {BACKGROUNDS[scene.background], *(COLORS[t.color] for t in scene.things)}
    assert len({tuple(p) for p in picture.reshape(-1, 3).tolist()} - plain) > 10


def test_later_things_lie_over_earlier_ones_and_edges_cut_them():
    large = Thing("square", "red", "large", "solid", 0.0, 1.0)
    small = Thing("circle", "blue", "small", "solid", 0.0, 1.0)
    picture = render(Scene((large, small), "white"), 64)
    assert tuple(picture[-1, 0]) == COLORS["blue"]
    assert tuple(picture[-1, 10]) == COLORS["red"]
    assert tuple(picture[0, -1]) == BACKGROUNDS["white"]


def test_pictures_below_32_px_are_refused():
    with pytest.raises(UserError, match="31 px"):
        render(Scene((), "white"), 31)
