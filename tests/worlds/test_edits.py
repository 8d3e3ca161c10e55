"""Edits: what is asked for holds of the scene after, and mostly not of the one before."""

import pytest

from vismem import worlds
from vismem.errors import UserError
from vismem.worlds.edits import KINDS
from vismem.worlds.render import render
from vismem.worlds.scene import Scene


@pytest.mark.parametrize("kind", KINDS)
def test_the_oracle_reads_the_scene_after_as_asked(kind):
    edits = worlds.Edits()
    held = [
        edit.holds(worlds.oracle.read(render(edit.after, 64)))
        for edit in (edits.example("train", i, kind) for i in range(40))
    ]
    assert sum(held) >= 39  # an outline in 64 px may be misread once


@pytest.mark.parametrize("kind", ["instruct", "restyle"])
def test_what_is_asked_for_changes_something(kind):
    edits = [worlds.Edits().example("val", i, kind) for i in range(40)]
    assert edits[3] == worlds.Edits().example("val", 3, kind)
    assert all(edit.before != edit.after for edit in edits)
    assert not any(edit.holds(edit.before) for edit in edits)


def test_no_pair_that_is_held_out_is_shown_before_the_test_of_it():
    edits = worlds.Edits()
    held_out = worlds.world("tiny").held_out
    for kind in ("instruct", "restyle"):
        for i in range(60):
            edit = edits.example("train", i, kind)
            things = edit.before.things + edit.after.things
            assert not held_out & {(thing.shape, thing.color) for thing in things}


def test_one_thing_is_in_the_box_to_be_inpainted():
    for i in range(200):
        edit = worlds.Edits().example("train", i, "inpaint")
        left, top, right, bottom = edit.box
        inside = [t for t in edit.after.things if left <= t.x <= right and top <= t.y <= bottom]
        assert len(inside) == 1
        assert edit.claim.things[0].matches(inside[0])
        assert not edit.holds(Scene((), edit.after.background))


def test_instructions_take_no_memory():
    edits = worlds.Edits()
    texts = {edits.example("test", i, "instruct").text.split()[0] for i in range(60)}
    assert {"add", "make", "move"} <= texts
    assert not {"undo", "take", "bring"} & texts  # said of what the canvas does not show


def test_texts_in_both_languages():
    edit = worlds.Edits()
    assert edit.example("train", 0, "restore", "zh").text in ("把图修好", "把图清理干净")
    for kind in KINDS:
        english = edit.example("train", 1, kind).text
        assert english.isascii()
        assert not edit.example("train", 1, kind, "zh").text.isascii()


def test_mistakes_are_named():
    with pytest.raises(UserError, match="did you mean 'inpaint'"):
        worlds.Edits().example("train", 0, "inpant")
    with pytest.raises(UserError, match="lang='fr'"):
        worlds.Edits().example("train", 0, "restore", "fr")
