"""Instructions of a conversation as logical forms: what they refer to and what they ask for.

`interpret(state, instruction)` gives the claim that the scene after it has to fulfil: what was
asked, and that everything else stays as it was. An instruction always changes something: one that
would not is not said, and a listener may rely on that. Lengths are shares of the picture's width.

Whether an instruction needs memory is decided by the canvas, not by its words: it does if no scene
fulfils all the claims that it could mean, given the canvas before it. "Remove it" with one thing on
the canvas needs none; nor does "make it blue" where all things but one are blue, nor "draw a star
above it" where there is room above everything.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vismem.worlds.captions import kind_of, values, varied
from vismem.worlds.claims import DIRECTIONS, MARGIN, NINTHS, At, Claim, Kind, NothingElse, Related
from vismem.worlds.scene import EDGE, REACH, SIZES, Preset, Scene, Thing, apart

STAYS = 1 / 8  # what is not to be moved may be off its place by this much, 4 px in 32
_FAR = 3 / 16  # a thing beside another is put so far off: more than the relation takes by `MARGIN`
# Where in its box a thing of open place is tried: 12 x 12 points.
_TRIED = [(i / 11, j / 11) for i in range(12) for j in range(12)]


@dataclass(frozen=True)
class Named:
    """The only thing of its kind on the canvas: "the red circle"."""

    kind: Kind


@dataclass(frozen=True)
class Recalled:
    """A thing by its part in the conversation: "it" was touched last, "first" was drawn before all
    others, and "before that" right before it."""

    role: str


Reference = Named | Recalled
IT = Recalled("it")
ROLES = ("it", "first", "before that")


@dataclass(frozen=True)
class In:
    """In a ninth of the picture."""

    place: str


@dataclass(frozen=True)
class Beside:
    """In a direction from another thing: "left of", "right of", "above" or "below"."""

    relation: str
    thing: Reference


Where = tuple[In] | tuple[Beside, ...]


@dataclass(frozen=True)
class Add:
    """Draw a thing of this kind."""

    kind: Kind
    where: Where


@dataclass(frozen=True)
class Again:
    """Draw another one like the thing just drawn, in this direction from it."""

    relation: str


@dataclass(frozen=True)
class Remove:
    """Take the thing away."""

    thing: Reference


@dataclass(frozen=True)
class PutBack:
    """Undo the one removal there was."""


@dataclass(frozen=True)
class Alter:
    """Give the thing's "color" or "size" a value; None: the one it was drawn with."""

    thing: Reference
    attribute: str
    value: str | None


@dataclass(frozen=True)
class Move:
    """Put the thing elsewhere."""

    thing: Reference
    where: Where


@dataclass(frozen=True)
class Swap:
    """Let two things change places."""

    first: Reference
    second: Reference


@dataclass(frozen=True)
class Undo:
    """Return to the scene that many turns ago."""

    number: int


Instruction = Add | Again | Remove | PutBack | Alter | Move | Swap | Undo


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
      loose: the number of the thing whose place is open within `box`; None if there is none.
      box: ((left, right), (top, bottom)) for its centre, by a margin of `MARGIN`.
    """

    state: State
    claim: Claim
    loose: int | None
    box: tuple[tuple[float, float], tuple[float, float]]

    def settled(self, points: Iterable[tuple[float, float]] = _TRIED) -> State | None:
        """The state with all things in place; None if there is no room.

        Args:
          points: in [0, 1] x [0, 1] of what the box leaves; the first that is free is taken.
        """
        if self.loose is None:
            return self.state
        state = self.state
        thing = state.things[self.loose]
        others = [other for n, other in state.things.items() if n != self.loose]
        (left, right), (top, bottom) = map(_overlap, self.box, _inside(thing))
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
        case Again(relation):
            if not state.fresh:
                return None
            where, anchors = (Beside(relation, IT),), numbers
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
    return Outcome(after, claim, loose, _box(where, [things[n] for n in anchors]))


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
    # A thing put "above it" may do for whatever "it" is.
    horizontal, vertical = (functools.reduce(_overlap, s) for s in zip(*(o.box for o in outcomes)))
    safe = outcomes[0]._replace(box=(horizontal, vertical)).settled()
    return not (safe and all(outcome.claim.holds(safe.scene) for outcome in outcomes))


def references(instruction: Instruction) -> list[Reference]:
    """What an instruction refers to, the thing to be changed first."""
    found = [IT] if isinstance(instruction, Again) else []
    found += [
        getattr(instruction, n) for n in ("thing", "first", "second") if hasattr(instruction, n)
    ]
    return found + [w.thing for w in getattr(instruction, "where", ()) if isinstance(w, Beside)]


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
        else:
            clauses += [Related(w.relation, (i, order.index(n))) for w, n in zip(where, anchors)]
    kinds = tuple(kind_of(things[n], attributes) for n in order)
    return Claim(kinds, (*clauses, NothingElse()))


def _box(where: Where, anchors: list[Thing]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a centre may lie, by `MARGIN`, as ((left, right), (top, bottom))."""
    if where and isinstance(where[0], In):
        return NINTHS[where[0].place]
    box = [(-math.inf, math.inf), (-math.inf, math.inf)]
    for clause, anchor in zip(where, anchors):
        for axis, (towards, centre) in enumerate(
            zip(DIRECTIONS[clause.relation], (anchor.x, anchor.y))
        ):
            if towards < 0:
                box[axis] = _overlap(box[axis], (-math.inf, centre - _FAR))
            elif towards > 0:
                box[axis] = _overlap(box[axis], (centre + _FAR, math.inf))
    return tuple(box)


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return max(a[0], b[0]), min(a[1], b[1])


def _inside(thing: Thing) -> tuple[tuple[float, float], tuple[float, float]]:
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
