"""What instructions ask for: pinned by their claims, and known from the canvas or only recalled."""

import itertools
from dataclasses import replace
from random import Random

import pytest

from vismem import worlds
from vismem.worlds.captions import kind_of, ninth, values, varied
from vismem.worlds.claims import MARGIN, NINTHS, Claim, Kind, NothingElse, Related
from vismem.worlds.instructions import (
    IT,
    Add,
    Again,
    Alter,
    Beside,
    In,
    Move,
    Named,
    PutBack,
    Recalled,
    Remove,
    Swap,
    Undo,
)
from vismem.worlds.meaning import STAYS, Level, State, Stays, interpret, needs_memory
from vismem.worlds.phrasing import parse
from vismem.worlds.scene import Scene, Thing
from vismem.worlds.speaker import FORMS
from vismem.worlds.world import LANGUAGES

PRESET = FORMS["tiny"].preset
FIRST, BEFORE = Recalled("first"), Recalled("before that")
RED = Thing("circle", "red", "small", "solid", 0.25, 0.25)
BLUE = Thing("square", "blue", "small", "solid", 0.25, 0.75)
PINK = Thing("cross", "pink", "large", "solid", 0.75, 0.5)


def named(thing: Thing) -> Named:
    return Named(kind_of(thing, varied(PRESET)))


def draw(state: State, thing: Thing) -> State:
    """The state after a thing was asked for and drawn at its place."""
    outcome = interpret(state, Add(kind_of(thing, varied(PRESET)), (In(ninth(thing)),)))
    after = replace(outcome.state, things={**outcome.state.things, outcome.loose: thing})
    assert outcome.claim.holds(after.scene)
    return after


def act(state: State, *instructions) -> State:
    for instruction in instructions:
        state = interpret(state, instruction).settled()
    return state


def drawn(*things: Thing) -> State:
    state = State(PRESET)
    for thing in things:
        state = draw(state, thing)
    return state


def turns(name: str, count: int):
    for index in range(count):
        talk = worlds.dialogue(name).example("train", index)
        yield from zip(talk._states, talk.turns)


@pytest.mark.parametrize("name", FORMS)
def test_claims_hold_after_their_turn_and_not_before(name):
    for state, turn in turns(name, 60):
        assert turn.claim.holds(turn.scene, MARGIN), turn.text
        assert not turn.claim.holds(state.scene, -MARGIN), turn.text


def test_claims_pin_all_there_is():
    """One thing gone, changed or added makes a claim false, and so does one moved uncalled for."""
    chance, shift = Random(0), STAYS + MARGIN + 0.01
    for state, turn in turns("tiny", 60):
        things = turn.scene.things
        changed = [(*things, Thing("cross", "red", "small", "solid", 0.5, 0.5))]
        for thing in things:
            rest = tuple(t for t in things if t is not thing)
            changed.append(rest)
            for attribute in varied(PRESET):
                others = [v for v in values(PRESET, attribute) if v != getattr(thing, attribute)]
                changed.append((*rest, replace(thing, **{attribute: chance.choice(others)})))
            alike = any(named(t) == named(thing) for t in rest)
            if thing in state.scene.things and not alike:
                changed.append((*rest, replace(thing, x=thing.x + shift)))
                changed.append((*rest, replace(thing, y=thing.y - shift)))
        for other in changed:
            assert not turn.claim.holds(Scene(other, "white"), -MARGIN), turn.text


@pytest.mark.parametrize(
    "text", ["put a small blue square to its left", "在它左边放一个小的蓝色正方形"]
)
def test_its_left_is_that_of_the_thing_touched_last(text):
    state = drawn(RED, PINK)
    instruction = parse(text, LANGUAGES["en" if text.isascii() else "zh"])
    circle, cross = Kind("circle", "red", "small"), Kind("cross", "pink", "large")
    assert interpret(state, instruction).claim == Claim(
        (circle, cross, Kind("square", "blue", "small")),
        (
            *(Stays(0, 0.25, 0.25), Stays(1, 0.75, 0.5)),
            *(Related("left of", (2, 1)), Level("left of", (2, 1))),
            NothingElse(),
        ),
    )


def test_references():
    state = drawn(RED, BLUE, PINK)
    assert [state.find(r) for r in (FIRST, IT, BEFORE, named(BLUE))] == [0, 2, 1, 1]
    state = act(state, Alter(named(BLUE), "color", "green"))
    assert [state.find(r) for r in (FIRST, IT, BEFORE, named(BLUE))] == [0, 1, 0, None]
    state = act(state, Remove(FIRST))
    assert [state.find(r) for r in (FIRST, IT, BEFORE)] == [None] * 3
    state = act(state, PutBack())
    assert [state.find(r) for r in (FIRST, IT, BEFORE)] == [0, 0, None]
    assert state.find(Named(Kind(size="small"))) is None  # there are two


def test_undoing_returns_to_the_scene_and_to_what_was_known_of_it():
    before = drawn(RED, BLUE)
    after = act(before, Remove(FIRST), Alter(named(BLUE), "color", "pink"))
    undone = act(after, Undo(2))
    assert undone.scene == before.scene
    assert undone.drawn == before.drawn
    assert not undone.removed
    assert interpret(undone, Undo(1)) is None  # an undo is not undone
    assert interpret(drawn(RED), Undo(1)) is None  # nor is the canvas cleared by it


def test_what_was_removed_comes_back_as_it_was_and_where_it_was():
    state = act(drawn(RED, BLUE), Alter(FIRST, "color", "cyan"), Remove(FIRST))
    assert act(state, PutBack()).scene.things == (replace(RED, color="cyan"), BLUE)
    assert interpret(act(state, Remove(named(BLUE))), PutBack()) is None  # which of the two?
    assert interpret(draw(state, replace(PINK, x=0.25, y=0.25)), PutBack()) is None  # no room


def test_the_start_is_when_a_thing_was_drawn():
    state = act(drawn(RED, BLUE), Alter(FIRST, "color", "cyan"), Alter(IT, "color", "pink"))
    assert act(state, Alter(IT, "color", None)).scene.things == (RED, BLUE)


def test_again_copies_what_was_just_drawn():
    after = act(drawn(BLUE, RED), Again("right of")).scene.things[2]
    assert (after.shape, after.color, after.size) == ("circle", "red", "small")
    assert after.x > RED.x
    assert interpret(act(drawn(RED, BLUE), Alter(FIRST, "color", "pink")), Again("above")) is None


def test_what_changes_nothing_or_has_no_room_makes_no_sense():
    state = drawn(RED, BLUE)
    for instruction in (
        Alter(FIRST, "color", "red"),
        Alter(FIRST, "color", None),
        Move(FIRST, (In("top left"),)),
        Move(FIRST, (Beside("above", FIRST),)),
        Swap(FIRST, BEFORE),
        Remove(named(PINK)),
        PutBack(),
    ):
        assert interpret(state, instruction) is None
    assert (
        interpret(state, Add(Kind("cross", "red", "large"), (Beside("left of", IT),))).settled()
        is None
    )


def test_needs_memory_by_what_is_on_the_canvas():
    alone, two, three = drawn(RED), drawn(RED, BLUE), drawn(RED, BLUE, PINK)
    star = Kind("triangle", "cyan", "small")
    for state, instruction, needed in (
        (alone, Remove(IT), False),
        (two, Remove(IT), True),
        (two, Remove(named(RED)), False),
        # An instruction changes something: here it can only be the other one.
        (two, Alter(IT, "color", "red"), False),
        (three, Alter(IT, "color", "red"), True),
        (two, Swap(IT, BEFORE), False),
        (three, Swap(IT, BEFORE), True),
        (two, Undo(1), True),
        (act(two, Remove(FIRST)), PutBack(), True),
        (act(alone, Alter(IT, "color", "pink")), Alter(IT, "color", None), True),
        # There are but two sizes.
        (act(alone, Alter(IT, "size", "large")), Alter(IT, "size", None), False),
        (act(three, Alter(IT, "size", "small")), Alter(IT, "size", None), True),
        # A thing to the right of one is not to the right of the other, which lies lower.
        (two, Add(star, (Beside("right of", IT),)), True),
        # Something can be above both.
        (
            drawn(replace(RED, y=0.5), replace(BLUE, y=0.84)),
            Add(star, (Beside("above", IT),)),
            False,
        ),
    ):
        assert interpret(state, instruction)
        assert needs_memory(state, instruction) == needed, instruction


def histories(canvas: State, chance: Random) -> list[State]:
    """Conversations that end with the same things on the canvas."""
    things, found = list(canvas.things.values()), []
    for order in itertools.permutations(things):
        found.append(drawn(*order))
        for k, thing in enumerate(order):
            # One was drawn in another colour, perhaps in another size, and touched later.
            others = chance.sample([c for c in PRESET.colors if c != thing.color], 3)
            start = [replace(t, color=others[0]) if t is thing else t for t in order]
            state = drawn(*start)
            for color in (*others[1:], thing.color):
                state = interpret(state, Alter(IT, "color", color), lambda _, k=k: k).state
            found.append(state)
            # So may all others have been, and altered since.
            for color in others:
                sizes = ("large" if kind.size == "small" else "small" for kind in state.drawn)
                kinds = [k._replace(color=color, size=z) for k, z in zip(state.drawn, sizes)]
                found.append(replace(state, drawn=tuple(kinds)))
    for place in NINTHS if len(things) < PRESET.most else ():
        kind = Kind("cross", chance.choice(PRESET.colors), "small")
        extra = interpret(drawn(*things), Add(kind, (In(place),)))
        if after := extra and extra.settled():
            found.append(interpret(after, Remove(IT)).state)
    return found


def test_the_flag_says_whether_the_canvas_suffices():
    """Of conversations with the same canvas and the same instruction, those that need memory ask
    for different scenes, and no scene will do for all of them; for the others there is one."""
    chance, seen = Random(0), {True: 0, False: 0}
    for state, turn in turns("tiny", 40):
        if len(state.things) > 3:
            continue
        told = histories(state, chance)
        assert all(set(h.scene.things) == set(state.scene.things) for h in told)
        outcomes = [interpret(state, turn.instruction)]
        for history in told:
            outcome = interpret(history, turn.instruction)
            if outcome and outcome.settled():
                outcomes.append(outcome)
        scenes = [turn.scene, *(outcome.settled().scene for outcome in outcomes[1:])]
        if not turn.needs_memory:  # a safe place may be a small one
            points = ((i / 60, j / 60) for i in range(61) for j in range(61))
            box = ((0, 1), (0, 1))
            anywhere = (outcomes[0].settled([point], box) for point in points)
            scenes = itertools.chain(scenes, (after.scene for after in anywhere if after))
        safe = any(all(outcome.claim.holds(scene) for outcome in outcomes) for scene in scenes)
        assert safe != turn.needs_memory, turn.text
        seen[turn.needs_memory] += 1
    assert min(seen.values()) > 20
