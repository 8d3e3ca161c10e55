"""Whether one claim follows from another, for claims that describe all there is, as full captions
do."""

import itertools

from vismem.worlds.captions import varied
from vismem.worlds.claims import (
    DIRECTIONS,
    NINTHS,
    PLACES,
    At,
    Background,
    Claim,
    Clause,
    Count,
    Kind,
    NothingElse,
    Related,
)
from vismem.worlds.scene import Preset

_OPPOSITE = {
    relation: next(r for r, d in DIRECTIONS.items() if d == (-x, -y))
    for relation, (x, y) in DIRECTIONS.items()
}


def implies(full: Claim, request: Claim, preset: Preset) -> bool:
    """Whether `request` holds of every scene of the preset of which `full` holds.

    Never said wrongly; but places and relations follow only from what is said in so many words, or
    from places that leave no doubt: there may be reasons that are not seen.

    Args:
      full: names all things with all the attributes in which things of the preset differ, and says
        that there is nothing else. From any other claim nothing is taken to follow.
      request: any claim of a caption.
    """
    named = all(getattr(kind, a) for kind in full.things for a in varied(preset))
    if not named or NothingElse() not in full.clauses:
        return False
    chosen = itertools.permutations(range(len(full.things)), len(request.things))
    return any(
        all(map(_within, (full.things[i] for i in things), request.things))
        and all(_follows(clause, things, full, preset) for clause in request.clauses)
        for things in chosen
    )


def _within(kind: Kind, wider: Kind) -> bool:
    """Whether all things of a kind are of a wider one."""
    return all(w is None or w == k for k, w in zip(kind, wider))


def _follows(clause: Clause, things: tuple[int, ...], full: Claim, preset: Preset) -> bool:
    """Whether a clause about `things` of `full`, by their numbers in the request, follows."""
    match clause:
        case At(thing, place):
            return any(
                isinstance(said, At) and said.thing == things[thing] and _inside(said.place, place)
                for said in full.clauses
            )
        case Related(relation, among):
            who = tuple(things[i] for i in among)
            if Related(relation, who) in full.clauses:
                return True
            if relation == "between":
                return Related(relation, (who[0], who[2], who[1])) in full.clauses
            return relation in DIRECTIONS and (
                Related(_OPPOSITE[relation], who[::-1]) in full.clauses
                or _apart(relation, *who, full, preset)
            )
        case Count(kind, number):
            return sum(_within(thing, kind) for thing in full.things) == number
        case Background(color):
            return clause in full.clauses or preset.backgrounds == (color,)
        case NothingElse():
            return len(things) == len(full.things)
    return False


def _inside(place: str, wider: str) -> bool:
    """Whether a place lies inside another."""
    return all(
        low <= left and right <= high
        for (left, right), (low, high) in zip(PLACES[place], PLACES[wider])
    )


def _apart(relation: str, first: int, second: int, full: Claim, preset: Preset) -> bool:
    """Whether the ninths of two things settle a direction, since the preset keeps things near the
    middles of ninths."""
    at = {
        said.thing: NINTHS[said.place]
        for said in full.clauses
        if isinstance(said, At) and said.place in NINTHS
    }
    if preset.spread is None or not {first, second} <= at.keys():
        return False
    [(axis, sign)] = [(i, sign) for i, sign in enumerate(DIRECTIONS[relation]) if sign]
    near, far = (second, first) if sign > 0 else (first, second)
    return at[near][axis][1] <= at[far][axis][0]
