"""What follows from full descriptions: never what is false, and all that is plainly said."""

from dataclasses import replace
from random import Random

import pytest

from vismem import worlds
from vismem.worlds import captions
from vismem.worlds.claims import (
    NINTHS,
    At,
    Background,
    Claim,
    Count,
    Kind,
    More,
    Not,
    NothingElse,
    Related,
)
from vismem.worlds.implication import implies
from vismem.worlds.scene import PRESETS, Scene

TINY = PRESETS["tiny"]
RED, BLUE = Kind("circle", "red", "large", "solid"), Kind("square", "blue", "small", "solid")


def elsewhere(scene: Scene, full: Claim, chance: Random) -> Scene:
    """The scene with its things at other places of the tiny world, where `full` puts some."""
    fixed = {c.thing: c.place for c in full.clauses if isinstance(c, At)}

    def moved(thing):
        said = next(
            (fixed[i] for i, kind in enumerate(full.things) if i in fixed and kind.matches(thing)),
            None,
        )
        place = said or chance.choice(tuple(NINTHS))
        row, column = divmod(tuple(NINTHS).index(place), 3)
        x, y = ((third + 0.5) / 3 + chance.uniform(-1, 1) * TINY.spread for third in (column, row))
        return replace(thing, x=x, y=y)

    return replace(scene, things=tuple(map(moved, scene.things)))


def test_what_follows_holds_wherever_the_description_does():
    world, chance, checked = worlds.world("tiny"), Random(0), 0
    for i in range(300):
        example = world.example("train", i, style="vague")
        for full in (captions.fixed(example.scene, TINY, chance) for _ in range(3)):
            if not implies(full, example.claim, TINY):
                continue
            for scene in (elsewhere(example.scene, full, chance) for _ in range(20)):
                if full.holds(scene):
                    checked += 1
                    assert example.claim.holds(scene), (full, example.claim, scene)
    assert checked > 1_000


@pytest.mark.parametrize("preset", ["tiny", "default"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_expansions_are_full_captions_in_the_same_language(preset, lang):
    world = worlds.world(preset)
    found = 0
    for i in range(100):
        example = world.example("test", i, lang=lang, style="vague")
        if full := example.expansion():
            found += 1
            assert full == example.expansion()
            assert full.claim.holds(example.scene)
            assert world.parse(full.text, lang) == full.claim
            assert implies(full.claim, example.claim, world.preset)
    assert found > 60


@pytest.mark.parametrize(
    ("asked", "follows"),
    [
        (Claim((Kind(color="red"),)), True),
        (Claim((Kind(color="green"),)), False),
        (Claim((Kind(), Kind())), True),
        (Claim((Kind(), Kind(), Kind())), False),
        (Claim((BLUE,), (At(0, "top half"),)), True),
        (Claim((BLUE,), (At(0, "left half"),)), False),  # it is in the middle column
        (Claim((RED,), (At(0, "top half"),)), False),
        (Claim((RED, BLUE), (Related("below", (0, 1)),)), True),
        (Claim((Kind(), Kind()), (Related("above", (0, 1)),)), True),  # the other way about
        (Claim((RED, BLUE), (Related("left of", (0, 1)),)), False),  # the same column
        (Claim((), (Count(Kind(size="large"), 1),)), True),
        (Claim((), (Count(Kind(color="green"), 0),)), True),
        (Claim((), (Count(Kind(fill="solid"), 1),)), False),
        (Claim((RED,), (Background("white"),)), True),
        (Claim((RED,), (NothingElse(),)), False),
        (Claim((), (Not(Claim((Kind(color="green"),))),)), False),  # true, but not seen
        (Claim((), (More(Kind(), RED),)), False),
    ],
)
def test_what_follows_from_two_things_at_their_places(asked, follows):
    full = Claim((RED, BLUE), (At(0, "bottom"), At(1, "top"), NothingElse()))
    assert implies(full, asked, TINY) == follows


def test_nothing_follows_from_what_leaves_things_open():
    request = Claim((Kind(color="red"),))
    for full in (
        Claim((RED,), (At(0, "middle"),)),  # there may be more
        Claim((Kind(color="red"),), (At(0, "middle"), NothingElse())),
    ):
        assert not implies(full, request, TINY)
    # In a world of things anywhere, ninths do not settle a direction.
    apart = Claim((RED, BLUE), (At(0, "left"), At(1, "right"), NothingElse()))
    beside = Claim((RED, BLUE), (Related("left of", (0, 1)),))
    assert implies(apart, beside, TINY)
    assert not implies(apart, beside, PRESETS["default"])


def test_an_expansion_says_relations_as_its_request_does():
    world, said = worlds.world("tiny"), 0
    for i in range(300):
        example = world.example("train", i, style="vague", count=2)
        relations = {c for c in example.claim.clauses if isinstance(c, Related)}
        if relations and (full := example.expansion()):
            assert relations & {*full.claim.clauses}, (example.text, full.text)
            said += 1
    assert said > 10
