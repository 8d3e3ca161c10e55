import dataclasses
import itertools

import numpy as np
import pytest

from vismem.worlds.scene import PRESETS, Scene, Thing, sample_scene
from vismem.worlds.scores import matches, object_scores, recovered, relation_similarity


def things(*places, **attributes):
    kinds = [("circle", "red"), ("square", "blue"), ("star", "green"), ("cross", "pink")]
    return tuple(
        Thing(**{"shape": s, "color": c, "size": "small", "fill": "solid", **attributes}, x=x, y=y)
        for (s, c), (x, y) in zip(kinds, places)
    )


def scene(*places):
    return Scene(things(*places), "white")


TRUTH = scene((0.2, 0.2), (0.8, 0.3), (0.4, 0.9))


def test_a_scene_agrees_with_itself_in_any_order():
    for order in itertools.permutations(TRUTH.things):
        assert object_scores(TRUTH, Scene(order, "black")) == (1, 1, 1)
        assert relation_similarity(TRUTH, Scene(order, "black")) == 1


def test_relations_of_two_objects_counted_by_hand():
    truth = scene((0.2, 0.2), (0.8, 0.3))
    # Of 2 x 2 x 2 entries: left/right of the pair is swapped (2), and so are both sides (2).
    assert relation_similarity(truth, scene((0.8, 0.2), (0.2, 0.3))) == pytest.approx(4 / 8)
    # The second object crosses the vertical middle, the pair keeps its order: one entry.
    assert relation_similarity(truth, scene((0.2, 0.2), (0.4, 0.3))) == pytest.approx(7 / 8)
    # Level instead of above: sign 0 agrees with neither side.
    assert relation_similarity(truth, scene((0.2, 0.3), (0.8, 0.3))) == pytest.approx(6 / 8)


def test_relations_among_what_is_found_are_weighted_by_recall():
    read = Scene(TRUTH.things[:2], "white")
    assert object_scores(TRUTH, read) == pytest.approx((1, 2 / 3, 0.8))
    assert relation_similarity(TRUTH, read) == pytest.approx(2 / 3)
    one = Scene(things((0.9, 0.9))[:1], "white")  # both entries of its table are wrong
    assert relation_similarity(TRUTH, one) == 0
    assert relation_similarity(TRUTH, Scene((), "white")) == 0
    assert object_scores(TRUTH, Scene((), "white")) == (0, 0, 0)


def test_what_cannot_be_told_agrees_with_nothing():
    read = Scene(tuple(dataclasses.replace(t, size=None) for t in TRUTH.things), "white")
    assert object_scores(TRUTH, read).f1 == 0
    assert object_scores(TRUTH, read, attributes=("shape", "color")).f1 == 1


def test_extra_things_cost_precision_only():
    read = Scene((*TRUTH.things, TRUTH.things[0]), "white")
    assert object_scores(TRUTH, read) == pytest.approx((3 / 4, 1, 6 / 7))


def test_recovered_bounds_places_and_wants_everything():
    def moved(by):
        first, *rest = TRUTH.things
        return Scene((dataclasses.replace(first, x=first.x + by), *rest), "white")

    assert recovered(TRUTH, moved(1.9 / 32))
    assert not recovered(TRUTH, moved(2.1 / 32))
    assert not recovered(TRUTH, Scene(TRUTH.things, "black"))
    assert not recovered(TRUTH, Scene(TRUTH.things[:2], "white"))
    assert not recovered(TRUTH, Scene((*TRUTH.things, TRUTH.things[0]), "white"))


def test_twins_are_matched_by_place():
    twin = TRUTH.things[0]
    pair = [dataclasses.replace(twin, x=x) for x in (0.2, 0.6)]
    moved = [dataclasses.replace(twin, x=x) for x in (0.65, 0.25)]
    found = matches(Scene(tuple(pair), "white"), Scene(tuple(moved), "white"))
    assert [(round(a.x, 2), round(b.x, 2)) for a, b in found] == [(0.2, 0.25), (0.6, 0.65)]


def test_relations_as_the_published_loops_compute_them():
    """The paper's definition written out object by object, on scenes of unlike things."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth = sample_scene(rng, PRESETS["default"], 3)
        if len({(t.shape, t.color, t.size, t.fill) for t in truth.things}) < 3:
            continue
        read = Scene(
            tuple(dataclasses.replace(t, x=rng.random(), y=rng.random()) for t in truth.things),
            truth.background,
        )
        agree = 0
        for i, j in itertools.product(range(3), repeat=2):
            for axis in "xy":
                a, b = (
                    getattr(s.things[i], axis) - (0.5 if i == j else getattr(s.things[j], axis))
                    for s in (truth, read)
                )
                agree += (a > 0) == (b > 0)
        assert relation_similarity(truth, read) == pytest.approx(agree / 18)
