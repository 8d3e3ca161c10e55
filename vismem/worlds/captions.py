"""Which claims to make about a scene: true ones, fixed or vague, and near misses."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from random import Random

from vismem.worlds.claims import (
    ATTRIBUTES,
    DIRECTIONS,
    HALVES,
    MARGIN,
    NINTHS,
    At,
    Background,
    Claim,
    Clause,
    Count,
    Kind,
    NothingElse,
    Related,
)
from vismem.worlds.scene import Preset, Scene, Thing

MOST_COUNTED = 5  # the largest number that captions count to


def fixed(scene: Scene, preset: Preset, chance: Random) -> Claim:
    """Names everything in full and fixes a place or a relation of each thing: one by its place, two
    mostly by how they lie to each other, more by both."""
    things = chance.sample(scene.things, len(scene.things))
    places_only = chance.random() < 0.25
    clauses: list[Clause] = []
    i = 0
    while i < len(things):
        tied = [] if places_only else _relations(things, i, scene, chance)
        tied = tied or [At(i, ninth(things[i]))]
        i = max(map(_last, tied)) + 1
        clauses += tied
    if len(preset.backgrounds) > 1:
        clauses.append(Background(scene.background))
    kinds = tuple(kind_of(thing, varied(preset)) for thing in things)
    return closed(Claim(kinds, tuple(clauses)), preset)


def vague(scene: Scene, preset: Preset, chance: Random) -> Claim:
    """Leaves something open: things, attributes, places or relations; may also count and deny."""
    while True:
        claim = _anything(scene, preset, chance)
        said = claim.clauses or any(map(any, claim.things))  # more than "a thing"
        if said and not _is_complete(claim, preset) and claim.holds(scene, MARGIN):
            return claim


def _anything(scene: Scene, preset: Preset, chance: Random) -> Claim:
    share = chance.choice((0.25, 0.5, 0.75, 1.0))  # of what could be said
    attributes = varied(preset)

    def some_of(thing: Thing) -> Kind:
        return kind_of(thing, [a for a in attributes if chance.random() < share])

    # Mostly about certain things; sometimes only counting.
    counts = chance.random() < (0.05 if len(scene.things) == 1 else 0.15)
    number = 0 if counts else chance.randint(1, len(scene.things))
    things = chance.sample(scene.things, number)
    clauses: list[Clause] = []
    i = 0
    while i < len(things):
        tied: list[Clause] = []
        row = Related("inside the row", (i,))
        if chance.random() < 0.5 and row.holds(things, scene, MARGIN):
            tied = [row]
        elif chance.random() < share:
            tied = _relations(things, i, scene, chance) or [_somewhere(things[i], i, chance)]
        i = max(map(_last, tied), default=i) + 1
        clauses += tied
    if not things or chance.random() < 0.1:
        kind = some_of(chance.choice(scene.things))
        number = sum(map(kind.matches, scene.things))
        if number <= MOST_COUNTED:
            clauses.append(Count(kind, number))
    if chance.random() < 0.15:
        attribute = chance.choice(attributes)
        clauses.append(Count(Kind(**{attribute: chance.choice(values(preset, attribute))}), 0))
    if len(preset.backgrounds) > 1 and chance.random() < share / 2:
        clauses.append(Background(scene.background))
    return Claim(tuple(map(some_of, things)), tuple(clauses))


def _relations(things: list[Thing], i: int, scene: Scene, chance: Random) -> list[Clause]:
    """Clauses for one sentence that relates thing i to the next one or two, if there are such.

    Of three things that lie in a line the middle one is put first in `things`.
    """
    left = len(things) - i
    if left < 2:
        return []
    if left > 2 and chance.random() < 0.5:
        between = Related("between", (i, i + 1, i + 2))
        for _ in range(3):
            if between.holds(things, scene, MARGIN):
                return [between]
            things[i : i + 3] = *things[i + 1 : i + 3], things[i]
    clauses: list[Clause] = [_direction(things, i, i + 1)]
    if left > 2 and chance.random() < 0.5:
        clauses.append(_direction(things, i, i + 2))
    return clauses if all(c.holds(things, scene, MARGIN) for c in clauses) else []


def _direction(things: Sequence[Thing], i: int, j: int) -> Related:
    """How thing i lies to thing j, by the axis on which they are farther apart."""
    x, y = things[i].x - things[j].x, things[i].y - things[j].y
    relation = max(DIRECTIONS, key=lambda r: x * DIRECTIONS[r][0] + y * DIRECTIONS[r][1])
    return Related(relation, (i, j))


def _somewhere(thing: Thing, i: int, chance: Random) -> At:
    """The ninth of the picture in which a thing lies, or a half."""
    halves = [
        half
        for half, ((left, right), (top, bottom)) in HALVES.items()
        if left <= thing.x <= right and top <= thing.y <= bottom
    ]
    return At(i, chance.choice((ninth(thing), *halves)))


def _last(clause: Clause) -> int:
    return clause.thing if isinstance(clause, At) else max(clause.things)


def ninth(thing: Thing) -> str:
    """The name of the ninth of the picture in which the centre of a thing lies."""
    return tuple(NINTHS)[3 * min(int(3 * thing.y), 2) + min(int(3 * thing.x), 2)]


def kind_of(thing: Thing, attributes: Sequence[str]) -> Kind:
    """What a thing is, as far as the attributes say."""
    return Kind(**{a: getattr(thing, a) for a in attributes})


def varied(preset: Preset) -> list[str]:
    """The attributes in which things of a preset differ, and which are therefore spoken of."""
    return [a for a in ATTRIBUTES if len(values(preset, a)) > 1]


def values(preset: Preset, attribute: str) -> tuple[str, ...]:
    return getattr(preset, attribute + "s")


def closed(claim: Claim, preset: Preset) -> Claim:
    """A claim that describes things completely also says that there is nothing else."""
    if _is_complete(claim, preset) and NothingElse() not in claim.clauses:
        return replace(claim, clauses=(*claim.clauses, NothingElse()))
    return claim


def _is_complete(claim: Claim, preset: Preset) -> bool:
    """Whether every thing named has all its attributes, and a ninth or a relation of its own; and
    the background its colour, where the preset has several."""
    placed = {c.thing for c in claim.clauses if isinstance(c, At) and c.place in NINTHS}
    for clause in claim.clauses:
        if isinstance(clause, Related) and len(clause.things) > 1:
            placed.update(clause.things)
    return (
        0 < len(claim.things) == len(placed)
        and all(getattr(kind, a) for kind in claim.things for a in varied(preset))
        and (len(preset.backgrounds) == 1 or any(isinstance(c, Background) for c in claim.clauses))
    )


def near_miss(
    claim: Claim,
    scene: Scene,
    preset: Preset,
    pairs: Collection[tuple[str, str]],
    chance: Random,
) -> Claim:
    """The claim with one attribute, place, relation or count changed, so that it is clearly false;
    with one attribute added where no change makes it so.

    It names no pair of shape and colour but `pairs`: a model that met others in false captions only
    would learn that they do not exist.
    """
    return next(
        changed
        for changes in (_changes(claim, preset, chance), _additions(claim, preset, chance))
        for changed in changes
        if not changed.holds(scene, -MARGIN)
        and all((k.shape, k.color) in pairs for k in changed.things if k.shape and k.color)
    )


def _changes(claim: Claim, preset: Preset, chance: Random) -> Iterator[Claim]:
    named = [(i, a) for i, kind in enumerate(claim.things) for a in ATTRIBUTES if getattr(kind, a)]
    spots = [*named, *range(len(claim.clauses))]
    # First a spot, then a value, so that there are not mostly changes of colour.
    for spot in chance.sample(spots, len(spots)):
        if isinstance(spot, tuple):
            yield from _with_attribute(claim, preset, *spot, chance)
            continue
        clause = claim.clauses[spot]
        if isinstance(clause, Related) and clause.relation == "between":
            things = list(claim.things)
            i, j = clause.things[0], chance.choice(clause.things[1:])
            things[i], things[j] = things[j], things[i]
            yield replace(claim, things=tuple(things))
        options = _other_clauses(clause, preset)
        for other in chance.sample(options, len(options)):
            clauses = (*claim.clauses[:spot], other, *claim.clauses[spot + 1 :])
            yield replace(claim, clauses=clauses)


def _other_clauses(clause: Clause, preset: Preset) -> list[Clause]:
    match clause:
        case At(thing, place):
            places = NINTHS if place in NINTHS else HALVES
            return [At(thing, other) for other in places if other != place]
        case Related(relation, things) if relation in DIRECTIONS:
            return [Related(other, things) for other in DIRECTIONS if other != relation]
        case Count(kind, number):
            return [Count(kind, n) for n in (number - 1, number + 1) if 0 <= n <= MOST_COUNTED]
        case Background(color):
            return [Background(other) for other in preset.backgrounds if other != color]
    return []


def _additions(claim: Claim, preset: Preset, chance: Random) -> Iterator[Claim]:
    for i, kind in enumerate(claim.things):
        for attribute in varied(preset):
            if getattr(kind, attribute) is None:
                for changed in _with_attribute(claim, preset, i, attribute, chance):
                    yield closed(changed, preset)


def _with_attribute(
    claim: Claim, preset: Preset, i: int, attribute: str, chance: Random
) -> Iterator[Claim]:
    """The claim with another value for an attribute of thing i."""
    options = [v for v in values(preset, attribute) if v != getattr(claim.things[i], attribute)]
    for value in chance.sample(options, len(options)):
        kind = claim.things[i]._replace(**{attribute: value})
        yield replace(claim, things=(*claim.things[:i], kind, *claim.things[i + 1 :]))
