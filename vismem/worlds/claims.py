"""What a text claims about a scene, as a small logical form: `claim.holds(scene) -> bool`.

A claim names things that have to be there, each a different one, and says what holds of them and of
the scene as a whole. Lengths are shares of the picture's width; y points down.

A scene that a reader made of a picture is a little off, so truth has a margin. With `margin` m > 0
a claim holds if it still would were every centre moved by up to m; with m < 0 if some such movement
could make it true. Texts are written where their claim holds with `MARGIN`, and near misses where
it fails with `-MARGIN`: reading a picture to 2 px in 32 never turns one into the other.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vismem.worlds.scene import Scene, Thing

MARGIN = 1 / 16
_LEAST = 1 / 32  # a thing is left of another if its centre is at least this much further left
_ALIGNED = 3 / 16  # how far a thing may be off the line of the two it is between, or off its row

ATTRIBUTES = ("shape", "color", "size", "fill")


class Kind(NamedTuple):
    """Things with the given attributes; None leaves one open. `Kind()` is any thing."""

    shape: str | None = None
    color: str | None = None
    size: str | None = None
    fill: str | None = None

    def matches(self, thing: Thing) -> bool:
        """Whether the thing surely is of this kind: an attribute that cannot be told is not."""
        shape, color, size, fill = self
        return (
            (shape is None or shape == thing.shape)
            and (color is None or color == thing.color)
            and (size is None or size == thing.size)
            and (fill is None or fill == thing.fill)
        )

    def may_match(self, thing: Thing) -> bool:
        """Whether the thing could be of this kind, given what cannot be told of it."""
        return all(
            value is None or getattr(thing, attribute) in (value, None)
            for attribute, value in zip(ATTRIBUTES, self)
        )


# Place -> ((left, right), (top, bottom)): ninths and halves of the picture. What lies at the
# picture's border has none of its own: a thing is somewhere in any case.
_LOW, _MID, _HIGH = (-math.inf, 1 / 3), (1 / 3, 2 / 3), (2 / 3, math.inf)
NINTHS = {
    "top left": (_LOW, _LOW),
    "top": (_MID, _LOW),
    "top right": (_HIGH, _LOW),
    "left": (_LOW, _MID),
    "middle": (_MID, _MID),
    "right": (_HIGH, _MID),
    "bottom left": (_LOW, _HIGH),
    "bottom": (_MID, _HIGH),
    "bottom right": (_HIGH, _HIGH),
}
_ALL, _FIRST, _SECOND = (-math.inf, math.inf), (-math.inf, 1 / 2), (1 / 2, math.inf)
HALVES = {
    "left half": (_FIRST, _ALL),
    "right half": (_SECOND, _ALL),
    "top half": (_ALL, _FIRST),
    "bottom half": (_ALL, _SECOND),
}
PLACES = NINTHS | HALVES

# Relation -> (x, y), the direction from the second thing to the first.
DIRECTIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
# Relations of two things, of three, and of one to all others.
RELATIONS = (*DIRECTIONS, "between", "inside the row")


@dataclass(frozen=True)
class At:
    """Thing number `thing` lies at `place`; places reach `MARGIN` beyond their borders."""

    thing: int
    place: str

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        (left, right), (top, bottom) = PLACES[self.place]
        thing, reach = things[self.thing], MARGIN - margin
        return left - reach <= thing.x <= right + reach and top - reach <= thing.y <= bottom + reach


@dataclass(frozen=True)
class Related:
    """The first of `things` stands in `relation` to the others.

    - A direction: its centre lies further that way. It may also lie further another way.
    - "between": it is near the line from the second to the third thing, and between their ends.
    - "inside the row": things at about its height lie to the left and to the right of it.
    """

    relation: str
    things: tuple[int, ...]

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        first, *others = (things[i] for i in self.things)
        slack = 2 * margin  # both ends of a distance may move
        if self.relation == "between":
            return _between(first, *others, slack)
        if self.relation == "inside the row":
            level = [t.x - first.x for t in scene.things if abs(t.y - first.y) <= _ALIGNED - slack]
            return min(level) <= -_LEAST - slack and max(level) >= _LEAST + slack
        x, y = DIRECTIONS[self.relation]
        return (first.x - others[0].x) * x + (first.y - others[0].y) * y >= _LEAST + slack


def _between(thing: Thing, start: Thing, end: Thing, slack: float) -> bool:
    x, y = end.x - start.x, end.y - start.y
    length = math.hypot(x, y) or 1e-9
    dx, dy = thing.x - start.x, thing.y - start.y
    along, off = (dx * x + dy * y) / length, abs(dx * y - dy * x) / length
    return _LEAST + slack <= along <= length - _LEAST - slack and off <= _ALIGNED - slack


@dataclass(frozen=True)
class Count:
    """Exactly `number` things are of `kind`, none of the rest being in doubt."""

    kind: Kind
    number: int

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        sure = sum(map(self.kind.matches, scene.things))
        return sure == self.number == sum(map(self.kind.may_match, scene.things))


@dataclass(frozen=True)
class More:
    """There are more things of one kind than of another."""

    kind: Kind
    other: Kind

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        fewest = sum(map(self.kind.matches, scene.things))
        return fewest > sum(map(self.other.may_match, scene.things))


@dataclass(frozen=True)
class Same:
    """Two of the things share the value of an attribute."""

    attribute: str
    things: tuple[int, int]

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        first, second = (getattr(things[i], self.attribute) for i in self.things)
        return first is not None and first == second


@dataclass(frozen=True)
class Background:
    """The background has this colour."""

    color: str

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        return scene.background == self.color


@dataclass(frozen=True)
class NothingElse:
    """The things named are all there are."""

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        return len(things) == len(scene.things)


@dataclass(frozen=True)
class Not:
    """A claim does not hold."""

    claim: "Claim"

    def holds(self, things: tuple[Thing, ...], scene: Scene, margin: float) -> bool:
        return not self.claim.holds(scene, -margin)


Clause = At | Related | Count | More | Same | Background | NothingElse | Not


@dataclass(frozen=True)
class Claim:
    """There are different things of these kinds for which all the clauses hold.

    Attributes:
      things: what has to be there; clauses refer to them by their numbers here.
      clauses: what holds of these things and of the scene.
    """

    things: tuple[Kind, ...] = ()
    clauses: tuple[Clause, ...] = ()

    def holds(self, scene: Scene, margin: float = 0.0) -> bool:
        """Whether the claim is true of the scene, by `margin` (see the module)."""
        return any(
            all(clause.holds(chosen, scene, margin) for clause in self.clauses)
            for chosen in _choices(self.things, scene.things)
        )


def _choices(kinds: tuple[Kind, ...], things: tuple[Thing, ...]) -> Iterator[tuple[Thing, ...]]:
    """All ways to choose a different thing of each kind."""
    if not kinds:
        yield ()
        return
    for i, thing in enumerate(things):
        if kinds[0].matches(thing):
            for rest in _choices(kinds[1:], things[:i] + things[i + 1 :]):
                yield (thing, *rest)
