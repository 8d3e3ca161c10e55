"""What a text says, one thing at a time: each part to be judged, and asked for, by itself."""

import re
from random import Random

from vismem.errors import UserError
from vismem.worlds import phrasing
from vismem.worlds.claims import At, Background, Claim, Count, Kind, Related
from vismem.worlds.instructions import Add, In
from vismem.worlds.language import Language
from vismem.worlds.world import LANGUAGES

# Where a text that no grammar reads falls into parts: at a comma or an "and" before a new thing.
_THING = r"(?:an?|the|one|two|three|four|five|no|exactly|only)\b"
_BREAK = re.compile(rf"[,;] (?:and )?(?={_THING})| and (?={_THING})", re.IGNORECASE)


def caption(text: str) -> str:
    """What is to be seen when a text has been obeyed: "draw a red star at the top", an instruction
    for an empty canvas, as "a red star at the top"; any other text as it is."""
    language, claim = _read(text)
    return text if claim is None or _parsed(text, language) else _say(claim, language)


def clauses(text: str) -> list[str]:
    """Captions of everything that a text says, together as much as the text.

    In the world's own languages these are each thing alone, each place and relation with the things
    it is of, each number, and the background. Another text is taken apart at conjunctions between
    things, unless it has something "between" two.
    """
    language, claim = _read(text)
    if claim is None:
        return [text] if " between " in text else _BREAK.split(text)
    alone = [Claim((kind,)) for kind in claim.things if any(kind)]
    found = [part for clause in claim.clauses if (part := _part(claim, clause))]
    parts = [_say(part, language) for part in (*alone, *found)]
    return list(dict.fromkeys(parts)) or [text]


def wanted(clause: str) -> str:
    """The sentence that asks for a clause which a drawing does not obey."""
    language, _ = _read(clause)
    return language.say("there should be", Random(0), text=clause)


def _part(claim: Claim, clause: object) -> Claim | None:
    """A claim of one clause and the things it is of."""
    match clause:
        case At(thing, place):
            return Claim((claim.things[thing],), (At(0, place),))
        case Related(relation, things):
            kinds = tuple(claim.things[i] for i in things)
            return Claim(kinds, (Related(relation, tuple(range(len(kinds)))),))
        case Count():
            return Claim((), (clause,))
        case Background():
            return Claim((Kind(),), (clause,))


def _read(text: str) -> tuple[Language, Claim | None]:
    """The language of a text and what it claims; the first language and None if none reads it."""
    for language in LANGUAGES.values():
        if claim := _parsed(text, language):
            return language, claim
        try:
            instruction = phrasing.parse(text, language)
        except UserError:
            continue
        match instruction:
            case Add(kind, (In(place),)):
                return language, Claim((kind,), (At(0, place),))
    return next(iter(LANGUAGES.values())), None


def _parsed(text: str, language: Language) -> Claim | None:
    try:
        return language.parse(text)
    except UserError:
        return None


def _say(claim: Claim, language: Language) -> str:
    return language.express(claim, Random(0))
