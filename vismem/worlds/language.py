"""One grammar for captions in every language: a claim to a text, and the text back to its claim.

A language is data: words for the values of each slot, and templates whose slots are filled with
them. In a template `{slot}` is a slot and `[...]` is left out where a slot inside has no value. The
first of several words or templates is the usual one, the rest are synonyms.

Templates of phrases have the slots size, fill, color, noun (nouns in the plural) and measure:
  a             one thing: "a large red circle", "something blue"
  the           a thing known to be the only one of its kind, in questions
  none, one, many   no thing, exactly one thing, {number} things
  kinds         a kind in general: "red circles", in questions
Templates of sentences have slots for things in order of their numbers, {a} {b} {c}:
  bare {a} · at {a} {place} · relation {a} {relation} {b} · chain {a} {relation} {b} {second} {c} ·
  between {a} {b} {c} · row {a}; and background {text} {background} around the whole caption.
All others are questions (questions.py), instructions (phrasing.py), edits (edits.py) or corrections
(corrections.py), where {the} and {other} are a "the" phrase or words for something recalled, and
{where} and {whither} are the templates for places.
"""

import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

from vismem.errors import UserError
from vismem.worlds.claims import (
    ATTRIBUTES,
    DIRECTIONS,
    At,
    Background,
    Claim,
    Clause,
    Count,
    Kind,
    Related,
)

_USUAL = 0.85  # share of the usual word or template among its synonyms
_SENTENCES = ("bare", "at", "relation", "chain", "between", "row")
_COUNTS = ("none", "one", "many")
# Slot -> the templates that fill it.
_NESTED = {
    **dict.fromkeys("abc", ("a",)),
    **dict.fromkeys(("the", "other"), ("the",)),
    "where": ("in", "beside", "beside it", "beside two"),
    "whither": ("into", "beside", "beside two"),
}
# Slot -> the one whose words it takes.
_SAME = {"second": "relation", "second_side": "side", "the": "recalled", "other": "recalled"}
_SLOT = re.compile(r"\{(\w+)\}")


class Language:
    """Says claims and reads them.

    Args:
      words: slot -> value -> words. Of "noun", "nouns" and "measure" the value is a shape; None
        stands for any shape without words of its own.
      templates: name -> templates.
      joiners: between two parts of a caption; between the first of more; before the last of more.
      spell: adjusts the spelling of a finished text.
      unspell: undoes it, and takes off what a reader may add, such as capitals.
    """

    def __init__(
        self,
        words: Mapping[str, Mapping[object, Sequence[str]]],
        templates: Mapping[str, Sequence[str]],
        joiners: tuple[str, str, str],
        spell: Callable[[str], str] = str,
        unspell: Callable[[str], str] = str,
    ):
        self.words, self.templates, self.joiners = words, templates, joiners
        self._spell, self._unspell = spell, unspell
        self._values = {
            slot: {word: value for value, several in table.items() for word in several}
            for slot, table in words.items()
        }
        self._fitting = functools.cache(self._fitting)
        self._patterns = functools.cache(self._patterns)

    def word(self, slot: str, value: object, chance: Random) -> str:
        table = self.words[slot]
        return _pick(table[value] if value in table else table[None], chance)

    def say(self, template: str, chance: Random, **slots: str) -> str:
        """A sentence by the name of its template."""
        return self._spell(_pick(self.templates[template], chance).format(**slots))

    def phrase(self, template: str, kind: Kind, chance: Random, number: int = 1) -> str:
        """A phrase for things of a kind.

        Args:
          template: "a", "the", "none", "one", "many" or "kinds".
          kind: what the phrase says of the things.
          chance: picks among synonyms; the same for the same sequence of random numbers.
          number: of things, for "many".
        """
        form = _pick(self._fitting(template, tuple(v is not None for v in kind)), chance)
        slots = {
            slot: self.word(slot, value, chance)
            for slot, value in zip(ATTRIBUTES[1:], kind[1:])
            if value is not None
        }
        noun = "nouns" if "{nouns}" in form else "noun"
        slots[noun] = self.word(noun, kind.shape, chance)
        if "{measure}" in form:
            slots["measure"] = self.word("measure", kind.shape, chance)
        if "{number}" in form:
            slots["number"] = self.word("number", number, chance)
        return form.format(**slots)

    def _fitting(self, template: str, known: tuple[bool, ...]) -> list[str]:
        """The templates of a name that can say what is known of a kind, and need no more."""
        known = {a for a, there in zip(ATTRIBUTES, known) if there}
        fits = []
        for form in self.templates[template]:
            form = re.sub(r"\[(.*?\{(\w+)\}.*?)\]", lambda m: m[1] * (m[2] in known), form)
            slots = set(_SLOT.findall(form)) - {"measure", "number"}
            if slots & {"noun", "nouns"}:
                slots = slots - {"noun", "nouns"} | {"shape"} & known
            if slots == known:
                fits.append(form)
        return fits

    def express(self, claim: Claim, chance: Random) -> str:
        """A caption for a claim of `At`, `Related`, `Count` and `Background`; others go unsaid."""
        parts, i = [], 0
        while i < len(claim.things):
            tied = [c for c in claim.clauses if _subject(c) == i]
            last = max((max(c.things) for c in tied if isinstance(c, Related)), default=i)
            slots = {
                name: self.phrase("a", kind, chance)
                for name, kind in zip("abc", claim.things[i : last + 1])
            }
            sentence = "bare"
            if tied and isinstance(tied[0], At):
                sentence, slots["place"] = "at", self.word("place", tied[0].place, chance)
            elif tied and tied[0].relation in DIRECTIONS:
                sentence = ("relation", "chain")[len(tied) - 1]
                for slot, clause in zip(("relation", "second"), tied):
                    slots[slot] = self.word("relation", clause.relation, chance)
            elif tied:
                sentence = {"between": "between", "inside the row": "row"}[tied[0].relation]
            parts.append(_pick(self.templates[sentence], chance).format(**slots))
            i = last + 1
        for clause in claim.clauses:
            if isinstance(clause, Count):
                template = _COUNTS[min(clause.number, 2)]
                parts.append(self.phrase(template, clause.kind, chance, clause.number))
        two, first, final = self.joiners
        text = parts[0] if len(parts) == 1 else two.join(parts)
        if len(parts) > 2:
            text = first.join(parts[:-1]) + final + parts[-1]
        for clause in claim.clauses:
            if isinstance(clause, Background):
                background = self.word("background", clause.color, chance)
                text = self.say("background", chance, text=text, background=background)
        return self._spell(text)

    def parse(self, text: str) -> Claim:
        """The claim of a caption, as `express` was given it but for clauses that go unsaid."""
        rest, background = self._unspell(text), ()
        for pattern in self._patterns("background"):
            if match := pattern.fullmatch(rest):
                rest = match["text"]
                background = (Background(self._values["background"][match["background"]]),)
                break
        things: list[Kind] = []
        clauses: list[Clause] = []
        counts: list[Clause] = []
        while True:
            # The longest reading wins: "a between b and c" over "a" alone.
            readings = [
                (match.end(), name, match)
                for name in (*_SENTENCES, *_COUNTS)
                for pattern in self._patterns(name)
                if (match := pattern.match(rest))
            ]
            if not readings:
                raise UserError(f"caption {text!r}: cannot read {rest!r}")
            end, name, match = max(readings, key=lambda reading: reading[0])
            if name in _COUNTS:
                number = _COUNTS.index(name)
                if name == "many":
                    number = self._values["number"][match["number"]]
                counts.append(Count(self._kind(match), number))
            else:
                clauses += self._clauses(name, match, len(things))
                things += [self.kind("a", match[a]) for a in "abc" if a in match.re.groupindex]
            rest = rest[end:]
            if not rest:
                return Claim(tuple(things), (*clauses, *counts, *background))
            joiner = next(
                (j for j in sorted(self.joiners, key=len)[::-1] if rest.startswith(j)), ""
            )
            if not joiner:
                raise UserError(f"caption {text!r}: cannot read {rest!r}")
            rest = rest[len(joiner) :]

    def match(self, template: str, text: str) -> dict[str, str] | None:
        """The slots of a text if it was made by the template of this name, else None."""
        text = self._unspell(text)
        found = (pattern.fullmatch(text) for pattern in self._patterns(template))
        return next((match.groupdict() for match in found if match), None)

    def value(self, slot: str, word: str) -> object:
        """What a word in a slot stands for; None if nothing."""
        return self._values[slot].get(word)

    def kind(self, template: str, phrase: str) -> Kind:
        """The kind of which `phrase` is the phrase by the template of this name."""
        return next(self._kind(m) for p in self._patterns(template) if (m := p.fullmatch(phrase)))

    def _clauses(self, sentence: str, match: re.Match, i: int) -> list[Clause]:
        if sentence == "at":
            return [At(i, self._values["place"][match["place"]])]
        if sentence == "between":
            return [Related("between", (i, i + 1, i + 2))]
        if sentence == "row":
            return [Related("inside the row", (i,))]
        named = [slot for slot in ("relation", "second") if slot in match.re.groupindex]
        return [
            Related(self._values["relation"][match[slot]], (i, i + j))
            for j, slot in enumerate(named, 1)
        ]

    def _kind(self, match: re.Match) -> Kind:
        found = match.groupdict()
        noun = "nouns" if "nouns" in found else "noun"
        shape = self._values[noun].get(found.get(noun))
        return Kind(shape, *(self._values[a].get(found.get(a)) for a in ATTRIBUTES[1:]))

    def _patterns(self, name: str) -> list[re.Pattern]:
        """Regular expressions for the templates of a name, with a group for each slot."""
        return [re.compile(self._pattern(t, True)) for t in self.templates[name]]

    def _pattern(self, template: str, named: bool) -> str:
        pattern = ""
        for token in re.split(r"(\{\w+\}|[\[\]])", template):
            slot = token[1:-1]
            if token in ("[", "]"):
                pattern += {"[": "(?:", "]": ")?"}[token]
            elif not token.startswith("{"):
                pattern += re.escape(token)
            else:
                pattern += f"(?P<{slot}>" if named and slot != "measure" else "(?:"
                pattern += self._alternatives(slot) + ")"
        return pattern

    def _alternatives(self, slot: str) -> str:
        if slot == "text":
            return ".+"
        forms = [self._pattern(t, False) for n in _NESTED.get(slot, ()) for t in self.templates[n]]
        slot = _SAME.get(slot, slot)
        words = itertools.chain(*self.words.get(slot, {}).values())
        return "|".join((*forms, *map(re.escape, sorted(words, key=len, reverse=True))))


def _subject(clause: Clause) -> int | None:
    """The number of the thing that a sentence with this clause begins with."""
    if isinstance(clause, At):
        return clause.thing
    return clause.things[0] if isinstance(clause, Related) else None


def _pick(options: Sequence[str], chance: Random) -> str:
    # One random number whatever the options, so that a near miss is worded like its caption.
    share = chance.random()
    if share < _USUAL or len(options) == 1:
        return options[0]
    return options[1 + int((share - _USUAL) / (1 - _USUAL) * (len(options) - 1))]
