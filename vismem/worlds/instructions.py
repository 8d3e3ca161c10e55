"""Instructions of a conversation as logical forms; meaning.py tells what they ask for."""

from dataclasses import dataclass

from vismem.worlds.claims import DIRECTIONS, Kind


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


# Side of a thing -> the relations that lie there.
STRAIGHT = {relation: (relation,) for relation in DIRECTIONS}
DIAGONAL = {f"{v} {h}": (v, h) for v in ("above", "below") for h in ("left of", "right of")}
SIDES = STRAIGHT | DIAGONAL


@dataclass(frozen=True)
class Beside:
    """On a side of another thing, one of `SIDES`. Unless the place is told by two things, it is in
    the other's row or column if the side is straight, and near it if the side is diagonal."""

    side: str
    thing: Reference


Where = tuple[In] | tuple[Beside, ...]


@dataclass(frozen=True)
class Add:
    """Draw a thing of this kind."""

    kind: Kind
    where: Where


@dataclass(frozen=True)
class Again:
    """Draw another one like the thing just drawn, on this side of it."""

    side: str


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


def references(instruction: Instruction) -> list[Reference]:
    """What an instruction refers to, the thing to be changed first."""
    if isinstance(instruction, Again):
        return [IT]
    slots = ("thing", "first", "second")
    things = [getattr(instruction, slot) for slot in slots if hasattr(instruction, slot)]
    places = getattr(instruction, "where", ())
    return things + [place.thing for place in places if isinstance(place, Beside)]
