"""Corrections: silent about what is right, and leading to it when they are followed."""

from dataclasses import replace
from random import Random

import pytest

from vismem import worlds
from vismem.worlds.claims import At, Claim, Kind, NothingElse, Related
from vismem.worlds.corrections import correction, faults
from vismem.worlds.meaning import Level, Stays
from vismem.worlds.scene import Scene, Thing
from vismem.worlds.speaker import FORMS

RED = Thing("circle", "red", "small", "solid", 0.2, 0.2)
BLUE = Thing("square", "blue", "large", "solid", 0.7, 0.7)
KINDS = (Kind("circle", "red", "small"), Kind("square", "blue", "large"))
WANTED = Claim(KINDS, (Stays(0, 0.2, 0.2), At(1, "bottom right"), NothingElse()))
LEFT = Claim(KINDS, (Stays(1, 0.7, 0.7), *(c("left of", (0, 1)) for c in (Related, Level))))


def drawn(*things: Thing) -> Scene:
    return Scene(things, "white")


@pytest.mark.parametrize(
    ("claim", "things", "english", "chinese"),
    [
        (WANTED, (RED, BLUE), None, None),
        (
            WANTED,
            (RED, replace(BLUE, color="green")),
            "the square should be blue",
            "那个正方形应该是蓝色的",
        ),
        (
            WANTED,
            (RED, replace(BLUE, size="small")),
            "the square should be large",
            "那个正方形应该是大的",
        ),
        (
            WANTED,
            (replace(RED, shape="cross"), BLUE),
            "the red thing should be a circle",
            "那个红色图形应该是一个圆形",
        ),
        (
            WANTED,
            (RED,),
            "there should be a large blue square in the bottom right",
            "应该是：右下角有一个大的蓝色正方形",
        ),
        (
            WANTED,
            (RED, BLUE, replace(RED, color="pink", x=0.8)),
            "there should be no small pink circle",
            "应该是：没有小的粉色圆形",
        ),
        (
            WANTED,
            (RED, BLUE, replace(BLUE, x=0.2)),
            "there should be exactly one large blue square",
            "应该是：恰好一个大的蓝色正方形",
        ),
        (
            WANTED,
            (RED, replace(BLUE, x=0.1)),
            "the square should be in the bottom right",
            "那个正方形应该在右下角",
        ),
        (
            WANTED,
            (replace(RED, x=0.05), BLUE),
            "the circle should be further right",
            "那个圆形应该再往右一些",
        ),
        (
            LEFT,
            (replace(RED, x=0.9, y=0.7), BLUE),
            "the circle should be left of the square",
            "那个圆形应该在那个正方形的左边",
        ),
        (
            LEFT,
            (RED, BLUE),
            "the circle should be further down",
            "那个圆形应该再往下一些",
        ),
        # Where the reader cannot tell a colour, a thing goes by the rest.
        (
            WANTED,
            (RED, replace(BLUE, color=None)),
            "the square should be blue",
            "那个正方形应该是蓝色的",
        ),
    ],
)
def test_sentences(monkeypatch, claim, things, english, chinese):
    monkeypatch.setattr(Random, "random", lambda self: 0.0)  # the usual words
    assert len(faults(claim, drawn(*things))) == (english is not None)
    assert correction(claim, drawn(*things)) == english
    assert correction(claim, drawn(*things), "zh") == chinese


def repaired(fault, scene: Scene, truth: Scene) -> Scene:
    """The scene with one fault put right, as the true scene has it."""
    things = list(scene.things)
    if fault.what == "missing":
        return drawn(*things, truth.things[fault.wanted])
    where = things.index(fault.found[0])
    if fault.what == "extra":
        things.pop(where)
    elif fault.what == "place":
        right = truth.things[fault.wanted]
        things[where] = replace(things[where], x=right.x, y=right.y)
    else:
        value = getattr(truth.things[fault.wanted], fault.what)
        things[where] = replace(things[where], **{fault.what: value})
    return drawn(*things)


@pytest.mark.parametrize("name", FORMS)
def test_following_corrections_makes_a_drawing_right(name):
    chance = Random(0)
    for index in range(50):
        talk = worlds.dialogue(name).example("train", index)
        turn = chance.randrange(len(talk.turns))
        claim, truth = talk.claims[turn], talk.scenes[turn]
        assert not faults(claim, truth)
        assert correction(claim, truth) is None
        # From nearly right to another conversation's picture.
        other = worlds.dialogue(name).example("train", index + 1).scenes[-1]
        for scene in (talk.near_miss(turn).scene, other):
            for _ in range(20):
                wrong = faults(claim, scene)
                assert bool(wrong) != claim.holds(scene)
                if not wrong:
                    break
                assert correction(claim, scene, chance.choice(("en", "zh")), index)
                scene = repaired(chance.choice(wrong), scene, truth)
            assert claim.holds(scene)
