"""What is wrong with a drawing, one thing at a time and in words: the oracle as a user."""

import itertools
import math
from dataclasses import dataclass
from random import Random

import numpy as np
from scipy.optimize import linear_sum_assignment

from vismem.errors import UserError
from vismem.registry import nearest
from vismem.worlds.captions import kind_of, ninth
from vismem.worlds.claims import (
    ATTRIBUTES,
    DIRECTIONS,
    PLACES,
    At,
    Claim,
    Clause,
    Count,
    Kind,
    Related,
)
from vismem.worlds.language import Language
from vismem.worlds.meaning import Level, Near, Stays
from vismem.worlds.scene import Scene, Thing
from vismem.worlds.world import LANGUAGES

_LOST = 1.6  # a thing wanted is missing rather than so many attributes off


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
      what: "missing", "extra", an attribute, or "place".
      wanted: the number of the claim's thing that is missing or not right; None for "extra".
      found: the thing drawn that is not right or too many, none for "missing"; and what was drawn
        for the thing beside which it should lie.
      clause: what does not hold of its place; None unless "place".
    """

    what: str
    wanted: int | None
    found: tuple[Thing, ...] = ()
    clause: Clause | None = None


def faults(claim: Claim, read: Scene) -> list[Fault]:
    """What keeps an instruction's claim from holding of a scene; empty if it holds."""
    if claim.holds(read):
        return []
    found = _pairs(claim, read)
    wrong = [Fault("extra", None, (thing,)) for thing in read.things if thing not in found]
    for i, (kind, thing) in enumerate(zip(claim.things, found)):
        if thing is None:
            wrong.append(Fault("missing", i))
            continue
        for attribute in ATTRIBUTES:
            if getattr(kind, attribute) not in (None, getattr(thing, attribute)):
                wrong.append(Fault(attribute, i, (thing,)))
    for clause in claim.clauses:
        things = [found[i] for i in _about(clause)]
        if things and all(things) and not clause.holds(found, read, 0.0):
            wrong.append(Fault("place", _about(clause)[0], tuple(things), clause))
    return wrong


def _about(clause: Clause) -> tuple[int, ...]:
    """The numbers of the things whose place a clause tells, the one to be moved first."""
    if isinstance(clause, At | Stays):
        return (clause.thing,)
    return clause.things if isinstance(clause, Related | Level | Near) else ()


def correction(claim: Claim, read: Scene, lang: str = "en", seed: int = 0) -> str | None:
    """A sentence about one thing that keeps a claim from holding; None if it holds.

    Args:
      claim: what an instruction asked for.
      read: what was drawn, as the oracle read it.
      lang: "en" or "zh".
      seed: of which fault it is, and in which words.
    """
    if lang not in LANGUAGES:
        raise UserError(f"correction: lang={lang!r} is unknown; {nearest(lang, LANGUAGES)}")
    wrong, chance = faults(claim, read), Random(seed)
    critic = _Critic(claim, read, LANGUAGES[lang], chance)
    return critic.sentence(chance.choice(wrong)) if wrong else None


def _pairs(claim: Claim, read: Scene) -> list[Thing | None]:
    """For each thing of a claim the thing drawn for it, None where there is none."""
    cost = np.full((len(claim.things), len(read.things) + len(claim.things)), _LOST)
    for i, kind in enumerate(claim.things):
        placed = [c for c in claim.clauses if isinstance(c, At | Stays) and c.thing == i]
        for j, thing in enumerate(read.things):
            wrong = sum(getattr(kind, a) not in (None, getattr(thing, a)) for a in ATTRIBUTES)
            cost[i, j] = wrong + sum(_off(clause, thing) for clause in placed)
    found = (*read.things, *[None] * len(claim.things))
    return [found[j] for j in linear_sum_assignment(cost)[1]]


def _off(clause: At | Stays, thing: Thing) -> float:
    """How far a thing is from where it should be."""
    if isinstance(clause, Stays):
        return math.hypot(thing.x - clause.x, thing.y - clause.y)
    ends = zip((thing.x, thing.y), PLACES[clause.place])
    return math.hypot(*(max(low - v, 0, v - high) for v, (low, high) in ends))


class _Critic:
    """Puts faults of a drawing into words."""

    def __init__(self, claim: Claim, read: Scene, language: Language, chance: Random):
        self.claim, self.read, self.language, self.chance = claim, read, language, chance
        said = (a for a in ATTRIBUTES if any(getattr(kind, a) for kind in claim.things))
        self.attributes = list(said) or ["shape", "color"]

    def sentence(self, fault: Fault) -> str:
        match fault:
            case Fault("missing", wanted):
                return self._say("there should be", text=self._caption(wanted))
            case Fault("extra", _, (thing,)):
                kind = kind_of(thing, self.attributes)
                if not any(kind):
                    return self._say("nothing", place=self._word("place", ninth(thing)))
                count = Count(kind, sum(map(kind.matches, self.claim.things)))
                text = self.language.express(Claim((), (count,)), self.chance)
                return self._say("there should be", text=text)
            case Fault("place", _, (thing, *others), clause):
                return self._place(thing, others, clause)
            case Fault("shape", wanted, (thing,)):
                kind = Kind(self.claim.things[wanted].shape)
                a = self.language.phrase("a", kind, self.chance)
                return self._say("should be a", the=self._the(thing, "shape"), a=a)
            case Fault(attribute, wanted, (thing,)):
                value = self._word(attribute, getattr(self.claim.things[wanted], attribute))
                return self._say("should be", the=self._the(thing, attribute), value=value)

    def _caption(self, wanted: int) -> str:
        """A caption of one thing of the claim, and of what its place is told by."""
        clause = next(c for c in self.claim.clauses if _about(c)[:1] == (wanted,))
        kind = self.claim.things[wanted]
        match clause:
            case Related(relation, (_, other)):
                part = Claim((kind, self.claim.things[other]), (Related(relation, (0, 1)),))
            case At(_, place):
                part = Claim((kind,), (At(0, place),))
            case Stays():
                part = Claim((kind,), (At(0, ninth(clause)),))
        return self.language.express(part, self.chance)

    def _place(self, thing: Thing, others: list[Thing], clause: Clause) -> str:
        the = self._the(thing)
        match clause:
            case Related(relation):
                side = self._word("side", relation)
                where = self._say("beside", side=side, the=self._the(*others))
            case At(_, place):
                where = self._say("in", place=self._word("place", place))
            case Stays() if ninth(clause) != ninth(thing):
                where = self._say("in", place=self._word("place", ninth(clause)))
            case Stays(_, x, y):
                return self._further(the, x - thing.x, y - thing.y)
            case Level(relation):
                (other,) = others
                in_row = DIRECTIONS[relation][0] != 0
                x, y = (0, other.y - thing.y) if in_row else (other.x - thing.x, 0)
                return self._further(the, x, y)
            case Near():
                return self._further(the, others[0].x - thing.x, others[0].y - thing.y)
        return self._say("should lie", the=the, where=where)

    def _further(self, the: str, x: float, y: float) -> str:
        way = max(DIRECTIONS, key=lambda d: x * DIRECTIONS[d][0] + y * DIRECTIONS[d][1])
        return self._say("further", the=the, way=self._word("way", way))

    def _the(self, thing: Thing, fault: str | None = None) -> str:
        """Names a thing drawn by as little as tells it from the others, but not by its fault."""
        known = [a for a in self.attributes if a != fault and getattr(thing, a)]
        for count in range(1, len(known) + 1):
            for attributes in itertools.combinations(known, count):
                kind = kind_of(thing, attributes)
                if sum(map(kind.may_match, self.read.things)) == 1:
                    return self.language.phrase("the", kind, self.chance)
        the = self.language.phrase("the", kind_of(thing, known), self.chance)
        return self._say("the at", the=the, place=self._word("place", ninth(thing)))

    def _word(self, slot: str, value: str) -> str:
        return self.language.word(slot, value, self.chance)

    def _say(self, template: str, **slots: str) -> str:
        return self.language.say(template, self.chance, **slots)
