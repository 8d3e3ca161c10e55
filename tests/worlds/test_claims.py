"""What claims hold of which scenes."""

from dataclasses import replace

import numpy as np
import pytest

from vismem import worlds
from vismem.worlds.claims import (
    DIRECTIONS,
    HALVES,
    MARGIN,
    NINTHS,
    PLACES,
    At,
    Background,
    Claim,
    Count,
    Kind,
    More,
    Not,
    NothingElse,
    Related,
    Same,
)
from vismem.worlds.scene import PRESETS, Scene, Thing, sample_scene


def thing(shape="circle", color="red", size="large", fill="solid", x=0.5, y=0.5):
    return Thing(shape, color, size, fill, x, y)


def scene(*things):
    return Scene(things, "white")


ANY = Kind()
RED, CIRCLE = Kind(color="red"), Kind(shape="circle")


def test_each_thing_named_is_another_one():
    one, two = scene(thing()), scene(thing(x=0.2), thing(x=0.8))
    claim = Claim((RED, CIRCLE))
    assert not claim.holds(one)
    assert claim.holds(two)


def test_the_choice_of_things_satisfies_all_clauses_at_once():
    # The red thing on the left is not the one at the bottom.
    things = scene(thing(x=0.1, y=0.1), thing(x=0.9, y=0.9))
    left, low = At(0, "left half"), At(0, "bottom half")
    assert Claim((RED,), (left,)).holds(things)
    assert Claim((RED,), (low,)).holds(things)
    assert not Claim((RED,), (left, low)).holds(things)


@pytest.mark.parametrize("places", [NINTHS, HALVES], ids=["ninths", "halves"])
def test_places_cover_the_picture_and_reach_a_margin_over_their_borders(places):
    rng = np.random.default_rng(0)
    for x, y in rng.random((300, 2)):
        holding = [p for p in places if Claim((ANY,), (At(0, p),)).holds(scene(thing(x=x, y=y)))]
        clear = [
            p for p in places if Claim((ANY,), (At(0, p),)).holds(scene(thing(x=x, y=y)), MARGIN)
        ]
        assert len(clear) == (1 if places is NINTHS else 2)
        assert set(clear) <= set(holding)
    at = Claim((ANY,), (At(0, "left"),))
    assert at.holds(scene(thing(x=1 / 3 + MARGIN - 0.001)))
    assert not at.holds(scene(thing(x=1 / 3 + MARGIN + 0.001)))


def test_directions_are_opposite_and_follow_the_mirror():
    rng = np.random.default_rng(0)
    swapped = {"left of": "right of", "right of": "left of", "above": "above", "below": "below"}
    for _ in range(200):
        things = sample_scene(rng, PRESETS["tiny"], 2)
        first, second = (Kind(t.shape, t.color, t.size, t.fill) for t in things.things)
        mirrored = scene(*(replace(t, x=1 - t.x) for t in things.things))
        for relation, (x, y) in DIRECTIONS.items():
            claim = Claim((first, second), (Related(relation, (0, 1)),))
            opposite = next(r for r, d in DIRECTIONS.items() if d == (-x, -y))
            back = Claim((second, first), (Related(opposite, (0, 1)),))
            assert claim.holds(things) == back.holds(things)
            flipped = Claim((first, second), (Related(swapped[relation], (0, 1)),))
            assert claim.holds(things) == flipped.holds(mirrored)


def test_between_is_near_the_line_and_within_it():
    between = Claim(
        (Kind(color="red"), Kind(color="blue"), Kind(color="green")),
        (Related("between", (0, 1, 2)),),
    )
    ends = thing(color="blue", x=0.1, y=0.2), thing(color="green", x=0.9, y=0.8)
    assert between.holds(scene(thing(x=0.5, y=0.5), *ends))
    assert between.holds(scene(thing(x=0.3, y=0.4), *ends[::-1]))
    assert not between.holds(scene(thing(x=0.7, y=0.2), *ends))  # beside the line
    assert not between.holds(scene(thing(x=0.97, y=0.85), *ends))  # beyond its end


def test_inside_the_row_has_neighbours_at_its_height_on_both_sides():
    inside = Claim((Kind(color="red"),), (Related("inside the row", (0,)),))
    left, right = thing(color="blue", x=0.2), thing(color="blue", x=0.8)
    assert inside.holds(scene(thing(), left, right))
    assert not inside.holds(scene(thing(), left))
    assert not inside.holds(scene(thing(x=0.95), left, right))
    assert not inside.holds(scene(thing(), left, replace(right, y=0.9)))


def test_counts_are_exact_and_zero_denies():
    two = scene(thing(), thing(shape="square"), thing(color="blue"))
    assert [n for n in range(5) if Claim((), (Count(RED, n),)).holds(two)] == [2]
    assert Claim((), (Count(Kind(color="green"), 0),)).holds(two)
    assert not Claim((CIRCLE,), (Count(RED, 0),)).holds(two)


def test_what_cannot_be_told_satisfies_nothing_that_depends_on_it():
    unclear = scene(thing(color=None), thing(color="red", x=0.9))
    assert not Claim((RED, RED)).holds(unclear)
    assert Claim((CIRCLE, RED)).holds(unclear)
    for number in range(3):
        assert not Claim((), (Count(RED, number),)).holds(unclear)
    assert Claim((), (Count(CIRCLE, 2),)).holds(unclear)
    assert not Claim((), (More(RED, Kind(color="blue")),)).holds(unclear)
    assert not Claim((CIRCLE, CIRCLE), (Same("color", (0, 1)),)).holds(unclear)
    assert not Claim((), (Background("white"),)).holds(Scene((), None))


def test_comparisons():
    things = scene(thing(), thing(size="small"), thing(color="blue"))
    assert Claim((), (More(RED, Kind(color="blue")),)).holds(things)
    assert not Claim((), (More(Kind(color="blue"), RED),)).holds(things)
    assert Claim((RED, Kind(color="blue")), (Same("size", (0, 1)),)).holds(things)
    small_blue = Claim((Kind(size="small"), Kind(color="blue")), (Same("color", (0, 1)),))
    assert not small_blue.holds(things)
    assert Claim((), (Not(small_blue),)).holds(things)


def test_in_doubt_neither_a_claim_nor_its_denial_is_clear():
    above = Claim((RED, Kind(color="blue")), (Related("above", (0, 1)),))
    denial = Claim((), (Not(above),))
    for difference, clear in ((0.05, 0), (0.3, 1), (-0.3, 1)):
        things = scene(thing(), thing(color="blue", y=0.5 + difference))
        assert above.holds(things) != denial.holds(things)
        assert above.holds(things, MARGIN) + denial.holds(things, MARGIN) == clear


def test_nothing_else():
    claim = Claim((RED,), (NothingElse(),))
    assert claim.holds(scene(thing()))
    assert not claim.holds(scene(thing(), thing(shape="cross", x=0.1)))


@pytest.mark.parametrize("name", PRESETS)
def test_a_claim_true_by_a_margin_survives_movements_within_it(name):
    world, rng = worlds.world(name), np.random.default_rng(0)
    for i in range(400):
        example = world.example("length" if i % 3 == 0 else "train", i)
        miss = example.near_miss()
        for _ in range(5):
            angles = rng.uniform(0, 2 * np.pi, len(example.scene.things))
            shifts = MARGIN * np.stack([np.cos(angles), np.sin(angles)], 1)
            moved = replace(
                example.scene,
                things=tuple(
                    replace(t, x=t.x + dx, y=t.y + dy)
                    for t, (dx, dy) in zip(example.scene.things, shifts)
                ),
            )
            assert example.claim.holds(moved), example.text
            assert not miss.claim.holds(moved), miss.text


def test_a_larger_margin_asks_for_more():
    world = worlds.world("tiny")
    margins = np.linspace(-MARGIN, MARGIN, 5)
    rng = np.random.default_rng(0)
    outcomes = set()
    for i in range(300):
        claim = world.example("train", i, style="fixed", count=2).claim
        others = sample_scene(rng, world.preset, 2)
        others = replace(
            others,
            things=tuple(replace(t, **k._asdict()) for t, k in zip(others.things, claim.things)),
        )
        held = tuple(claim.holds(others, m) for m in margins)
        assert list(held) == sorted(held, reverse=True)
        outcomes.add(held)
    assert len(outcomes) > 2  # some true, some false, some in doubt


def test_place_names_are_distinct_regions():
    assert len(set(PLACES.values())) == len(PLACES) == 13
