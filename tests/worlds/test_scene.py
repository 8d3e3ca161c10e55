import collections
import itertools
from dataclasses import replace

import numpy as np
import pytest

from vismem.errors import UserError
from vismem.worlds.render import render
from vismem.worlds.scene import BACKGROUNDS, PRESETS, Scene, lined_up, sample_scene


def scenes(preset, count, n, seed=0):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, PRESETS[preset], count) for _ in range(n)]


@pytest.mark.parametrize(("preset", "size"), [("tiny", 32), ("default", 64)])
def test_things_neither_touch_each_other_nor_the_edge(preset, size):
    for scene in scenes(preset, PRESETS[preset].most + 1, 60):
        drawn = [
            (render(Scene((t,), scene.background), size) != BACKGROUNDS[scene.background]).any(-1)
            for t in scene.things
        ]
        for a, b in itertools.combinations(drawn, 2):
            assert not (a & b).any()
        for mask in drawn:
            assert not mask[:, [0, -1]].all(0).any()
            assert not mask[[0, -1]].all(1).any()


def test_a_scene_is_a_function_of_its_generator():
    assert scenes("default", 4, 20) == scenes("default", 4, 20)
    assert scenes("default", 4, 20) != scenes("default", 4, 20, seed=1)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_attribute_occurs_and_nothing_else(preset):
    p = PRESETS[preset]
    drawn = scenes(preset, p.most, 400)
    things = [t for s in drawn for t in s.things]
    assert {t.shape for t in things} == set(p.shapes)
    assert {t.color for t in things} == set(p.colors)
    assert {t.size for t in things} == set(p.sizes)
    assert {t.fill for t in things} == set(p.fills)
    assert {s.background for s in drawn} == set(p.backgrounds)
    assert {len(s.things) for s in drawn} == {p.most}


def test_only_the_pairs_asked_for_are_drawn():
    pairs = [("circle", "red"), ("cross", "blue")]
    rng = np.random.default_rng(0)
    drawn = [sample_scene(rng, PRESETS["tiny"], 2, pairs) for _ in range(50)]
    assert {(t.shape, t.color) for s in drawn for t in s.things} == set(pairs)


def test_too_many_things_are_refused():
    with pytest.raises(UserError, match="scene of 9 things"):
        sample_scene(np.random.default_rng(0), PRESETS["tiny"], 9)


def test_things_lined_up_lie_in_a_line_inside_the_picture_and_apart():
    rng, lines = np.random.default_rng(0), collections.Counter()
    for i in range(1_500):
        scene = sample_scene(rng, PRESETS["default"], 3 + i % 2)
        lined = lined_up(rng, scene, 0.05)
        assert [replace(t, x=0, y=0) for t in lined.things] == [
            replace(t, x=0, y=0) for t in scene.things
        ]
        if lined == scene:
            lines["too wide"] += 1
            continue
        places = np.array([(t.x, t.y) for t in lined.things])
        spread = np.ptp(places, axis=0)
        across = int(spread.argmin())
        assert spread[across] <= 1 / 16 + 1e-9
        assert (np.diff(places[:, 1 - across]) > 0.05).all()
        lines["row" if across else "column"] += 1
        image = render(lined, 128).astype(int) - BACKGROUNDS[lined.background]
        assert not image[[0, -1]].any()
        assert not image[:, [0, -1]].any()
        alone = [render(Scene((t,), lined.background), 128) for t in lined.things]
        touched = sum((a != BACKGROUNDS[lined.background]).any(-1).astype(int) for a in alone)
        assert touched.max() == 1
    assert min(lines.values()) > 50
    assert len(lines) == 3
