"""What an instruction asks for, and whether it takes memory to know.

`interpret(state, instruction)` gives the claim that the scene after it has to fulfil: what was
asked, and that everything else stays as it was. An instruction always changes something: one that
would not is not said, and a listener may rely on that. Lengths are shares of the picture's width.

Whether an instruction needs memory is decided by the canvas, not by its words: it does if no scene
fulfils all the claims that it could mean, given the canvas before it. "Remove it" with one thing on
the canvas needs none; nor does "make it blue" where all things but one are blue, nor "draw a star
above it" where one place is above all that "it" could be.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vismem.worlds.captions import kind_of, values, varied
from vismem.worlds.claims import DIRECTIONS, MARGIN, NINTHS, At, Claim, Kind, NothingElse, Related
from vismem.worlds.instructions import (
    DIAGONAL,
    IT,
    SIDES,
    STRAIGHT,
    Add,
    Again,
    Alter,
    Beside,
    In,
    Instruction,
    Move,
    Named,
    PutBack,
    Recalled,
    Reference,
    Remove,
    Swap,
    Undo,
    Where,
    references,
)
from vismem.worlds.scene import EDGE, REACH, SIZES, Preset, Scene, Thing, apart

STAYS = 1 / 8  # what is not to be moved may be off its place by this much, 4 px in 32
_LEVEL = 3 / 16  # how far a thing beside another may be off its row or column
_NEAR = 1 / 2  # how far at most a thing is that lies diagonally beside another, along each axis
_FAR = 1 / 16  # a thing beside another is put this far off at least, a pixel in 32 to be safe
# Where in its box a thing of open place is tried: 8 x 8 points.
_TRIED = [(i / 7, j / 7) for i in range(8) for j in range(8)]

Box = tuple[tuple[float, float], tuple[float, float]]  # ((left, right), (top, bottom))


@dataclass(frozen=True)
class Stays:
    """Thing number `thing` lies at (x, y), give or take `STAYS`."""

    thing: int
    x: float
    y: float

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        thing = things[self.thing]
        return max(abs(thing.x - self.x), abs(thing.y - self.y)) <= STAYS - margin


@dataclass(frozen=True)
class Level:
    """The first of two things is in the row of the second, or in its column, by the relation."""

    relation: str
    things: tuple[int, int]

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        first, second = (things[i] for i in self.things)
        beside = DIRECTIONS[self.relation][0] != 0
        off = first.y - second.y if beside else first.x - second.x
        return abs(off) <= _LEVEL - 2 * margin


@dataclass(frozen=True)
class Near:
    """The first of two things is near the second, along both axes."""

    things: tuple[int, int]

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        first, second = (things[i] for i in self.things)
        return max(abs(first.x - second.x), abs(first.y - second.y)) <= _NEAR - 2 * margin


@dataclass(frozen=True)
class State:
    """A conversation so far: the canvas, and what later instructions may refer to.

    Attributes:
      preset: what things are made of.
      things: number -> thing on the canvas. Things are numbered in the order of their drawing.
      drawn: by number, what every thing was when it was drawn.
      removed: number -> thing taken away.
      it: the number of the thing touched last; None if it is gone, or not one thing.
      fresh: whether the last turn drew it.
      before: the state a turn earlier, as far as it can be undone: an undo is not.
    """

    preset: Preset
    things: dict[int, Thing] = field(default_factory=dict)
    drawn: tuple[Kind, ...] = ()
    removed: dict[int, Thing] = field(default_factory=dict)
    it: int | None = None
    fresh: bool = False
    before: "State | None" = None

    @functools.cached_property
    def scene(self) -> Scene:
        """The canvas, its things in the order of their drawing."""
        things = tuple(self.things[n] for n in sorted(self.things))
        return Scene(things, self.preset.backgrounds[0])

    def find(self, reference: Reference) -> int | None:
        """The number of the thing referred to; None if it is not on the canvas, or not alone."""
        match reference:
            case Named(kind):
                found = [n for n, thing in self.things.items() if kind.matches(thing)]
                return found[0] if len(found) == 1 else None
            case Recalled("it"):
                return self.it
            case Recalled("first"):
                number = 0
            case Recalled("before that"):
                number = -1 if self.it is None else self.it - 1
        return number if number in self.things else None


class Outcome(NamedTuple):
    """What an instruction asks for.

    Attributes:
      state: the conversation after it, where the place of the thing `loose` is still to be chosen.
      claim: what has to hold of the scene.
      loose: the number of the thing whose place is open; None if there is none.
      where, anchors: where it is to lie, and the things beside which.
    """

    state: State
    claim: Claim
    loose: int | None
    where: Where | tuple[()]
    anchors: tuple[Thing, ...]

    def box(self, margin: float) -> Box:
        """Where the centre of the loose thing may be for the claim to hold by a margin."""
        if self.where and isinstance(self.where[0], In):
            return tuple(_wider(ends, MARGIN - margin) for ends in NINTHS[self.where[0].place])
        horizontal = vertical = (-math.inf, math.inf)
        alone = len(self.where) == 1
        level = _LEVEL - 2 * margin if alone else math.inf
        for beside, anchor in zip(self.where, self.anchors):
            near = _NEAR - 2 * margin if alone and beside.side in DIAGONAL else math.inf
            x, y = map(sum, zip(*(DIRECTIONS[relation] for relation in SIDES[beside.side])))
            far = _FAR + 2 * margin
            horizontal = _overlap(horizontal, _side(anchor.x, x, level, far, near))
            vertical = _overlap(vertical, _side(anchor.y, y, level, far, near))
        return horizontal, vertical

    def settled(
        self, points: Iterable[tuple[float, float]] = _TRIED, box: Box | None = None
    ) -> State | None:
        """The state with all things in place; None if there is no room.

        Args:
          points: in [0, 1] x [0, 1] of what is left of the box; the first that is free is taken.
          box: for the loose thing's centre; where the claim holds by `MARGIN` by default.
        """
        if self.loose is None:
            return self.state
        state = self.state
        thing = state.things[self.loose]
        others = [other for n, other in state.things.items() if n != self.loose]
        (left, right), (top, bottom) = map(_overlap, box or self.box(MARGIN), _inside(thing))
        if left > right or top > bottom:
            return None
        for u, v in points:
            placed = replace(thing, x=left + u * (right - left), y=top + v * (bottom - top))
            if all(apart(placed, other, state.preset.gap) for other in others):
                return replace(state, things={**state.things, self.loose: placed})
        return None


def interpret(
    state: State,
    instruction: Instruction,
    find: Callable[[Reference], int | None] | None = None,
) -> Outcome | None:
    """What an instruction means in a conversation; None if it refers to nothing, has no room,
    changes nothing, or is one that nobody would give: clearing the canvas by undoing.

    Args:
      find: resolves references; `state.find` by default.
    """
    numbers = [(find or state.find)(reference) for reference in references(instruction)]
    if None in numbers or len(set(numbers)) < len(numbers):
        return None
    things, removed, drawn = dict(state.things), dict(state.removed), state.drawn
    it, loose, where, anchors, before = None, None, (), [], state
    match instruction:
        case Add(kind, where):
            it = loose = len(drawn)
            anchors = numbers
            things[it] = _thing(kind, state.preset)
        case Again(side):
            if not state.fresh:
                return None
            where, anchors = (Beside(side, IT),), numbers
            it = loose = len(drawn)
            things[it] = replace(things[numbers[0]], x=math.nan, y=math.nan)
        case Remove():
            removed[numbers[0]] = things.pop(numbers[0])
        case PutBack():
            if len(removed) != 1:
                return None
            it, thing = removed.popitem()
            things[it] = thing
        case Alter(_, attribute, value):
            (it,) = numbers
            value = value or getattr(drawn[it], attribute)
            things[it] = replace(things[it], **{attribute: value})
        case Move(_, where):
            loose, *anchors = numbers
            it = loose
        case Swap():
            a, b = (things[n] for n in numbers)
            things |= zip(numbers, (replace(a, x=b.x, y=b.y), replace(b, x=a.x, y=a.y)))
        case Undo(number):
            earlier = state
            for _ in range(number):
                earlier = earlier and earlier.before
            if not earlier or not earlier.things:
                return None
            things, removed, drawn, before = earlier.things, earlier.removed, earlier.drawn, None
    new = len(drawn) in things
    if new:
        drawn = (*drawn, kind_of(things[it], varied(state.preset)))
    if not _fit([t for n, t in things.items() if n != loose], state.preset.gap):
        return None
    claim = _claim(state.preset, things, loose, where, anchors)
    if len(things) > state.preset.most or claim.holds(state.scene, -MARGIN):
        return None
    after = State(state.preset, things, drawn, removed, it, new, before)
    return Outcome(after, claim, loose, where, tuple(things[n] for n in anchors))


def needs_memory(state: State, instruction: Instruction) -> bool:
    """Whether whoever sees only the canvas cannot be sure to do right by an instruction.

    What was removed or undone does not show on a canvas. A recalled thing, and the value that a
    thing had at the start, could be any with which the instruction makes sense: of two sizes, the
    one that it does not have.
    """
    if isinstance(instruction, PutBack | Undo):
        return True
    meanings = [instruction]
    if isinstance(instruction, Alter) and instruction.value is None:
        attribute = instruction.attribute
        meanings = [replace(instruction, value=v) for v in values(state.preset, attribute)]
    recalled = {r for r in references(instruction) if isinstance(r, Recalled)}
    outcomes = [interpret(state, instruction)]
    for numbers in itertools.permutations(state.things, len(recalled)):
        meant = dict(zip(recalled, numbers))

        def find(reference: Reference, meant=meant) -> int | None:
            return meant[reference] if reference in meant else state.find(reference)

        possible = (interpret(state, meaning, find) for meaning in meanings)
        outcomes += [outcome for outcome in possible if outcome and outcome.settled()]
    if len({outcome.claim for outcome in outcomes}) == 1:
        return False
    # A thing put "above it" may do for whatever "it" is.
    sides = zip(*(outcome.box(0.0) for outcome in outcomes))
    horizontal, vertical = (functools.reduce(_overlap, ends) for ends in sides)
    safe = outcomes[0].settled(box=(horizontal, vertical))
    return not (safe and all(outcome.claim.holds(safe.scene) for outcome in outcomes))


def _thing(kind: Kind, preset: Preset) -> Thing:
    """A thing of a kind that says what varies in the preset, nowhere yet."""
    shape, color, size, fill = kind
    size, fill = size or preset.sizes[0], fill or preset.fills[0]
    return Thing(shape, color, size, fill, math.nan, math.nan)


def _claim(
    preset: Preset, things: dict[int, Thing], loose: int | None, where: Where, anchors: list[int]
) -> Claim:
    """Says everything of every thing, and that there is nothing else."""
    order, attributes = sorted(things), varied(preset)
    clauses = [Stays(i, things[n].x, things[n].y) for i, n in enumerate(order) if n != loose]
    if loose is not None:
        i = order.index(loose)
        if isinstance(where[0], In):
            clauses.append(At(i, where[0].place))
        for beside, anchor in zip(where, anchors):
            pair = (i, order.index(anchor))
            clauses += [Related(relation, pair) for relation in SIDES[beside.side]]
            if len(where) == 1:
                straight = beside.side in STRAIGHT
                clauses.append(Level(beside.side, pair) if straight else Near(pair))
    kinds = tuple(kind_of(things[n], attributes) for n in order)
    return Claim(kinds, (*clauses, NothingElse()))


def _side(
    centre: float, direction: int, level: float, far: float, near: float
) -> tuple[float, float]:
    """What of an axis lies in a direction from a centre, at least `far` and at most `near` off;
    with no direction, what is at most `level` off."""
    if direction:
        return (centre - near, centre - far) if direction < 0 else (centre + far, centre + near)
    return centre - level, centre + level


def _wider(ends: tuple[float, float], reach: float) -> tuple[float, float]:
    return ends[0] - reach, ends[1] + reach


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return max(a[0], b[0]), min(a[1], b[1])


def _inside(thing: Thing) -> Box:
    """Where the centre of a thing may lie for it to be inside the picture."""
    left, up, right, down = (SIZES[thing.size] * reach for reach in REACH[thing.shape][:4])
    return (EDGE + left, 1 - EDGE - right), (EDGE + up, 1 - EDGE - down)


def _fit(things: list[Thing], gap: float) -> bool:
    """Whether things lie inside the picture and apart from each other."""
    for i, thing in enumerate(things):
        (left, right), (top, bottom) = _inside(thing)
        if not (left <= thing.x <= right and top <= thing.y <= bottom):
            return False
        if not all(apart(thing, other, gap) for other in things[:i]):
            return False
    return True
