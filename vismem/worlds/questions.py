"""Questions about a scene with their answers, from the same grammar as captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from vismem.worlds.captions import kind_of, ninth, values, varied
from vismem.worlds.claims import (
    ATTRIBUTES,
    DIRECTIONS,
    MARGIN,
    At,
    Claim,
    Clause,
    Count,
    Kind,
    More,
    Not,
    Related,
    Same,
)
from vismem.worlds.language import Language
from vismem.worlds.scene import Preset, Scene, Thing

SORTS = ("exist", "count", "attribute", "compare", "relation", "place")


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
      about: one of SORTS.
      text: the question.
      answer: "yes" or "no", a number in digits, or a word for an attribute or a place; in
        the question's language, always the usual word.
      claim: what the answer claims; true of the scene.
    """

    about: str
    text: str
    answer: str
    claim: Claim


def questions(scene: Scene, preset: Preset, language: Language, chance: Random) -> list[Question]:
    """A question of every sort that the scene allows: things that are asked about by "the" have
    to be the only ones of their kind."""
    asker = _Asker(scene, preset, language, chance)
    asked = [getattr(asker, sort)() for sort in SORTS]
    return [question for question in asked if question]


class _Asker:
    def __init__(self, scene: Scene, preset: Preset, language: Language, chance: Random):
        self.scene, self.preset, self.language, self.chance = scene, preset, language, chance
        self.attributes = varied(preset)

    def exist(self) -> Question:
        kind = self._some_kind()
        there = any(map(kind.matches, self.scene.things))
        claim = Claim((kind,)) if there else Claim((), (Count(kind, 0),))
        return self._question("exist", "is there", there, claim, a=self._phrase("a", kind))

    def count(self) -> Question:
        kind = self._some_kind()
        number = sum(map(kind.matches, self.scene.things))
        claim = Claim((), (Count(kind, number),))
        kinds = self._phrase("kinds", kind)
        return self._question("count", "how many", str(number), claim, kinds=kinds)

    def attribute(self) -> Question | None:
        attribute = self.chance.choice(self.attributes)
        thing = self.chance.choice(self.scene.things)
        kind = self._only(thing, [a for a in self.attributes if a != attribute])
        if kind is None:
            return None
        value = getattr(thing, attribute)
        answer = self.language.words["noun" if attribute == "shape" else attribute][value][0]
        claim = Claim((kind._replace(**{attribute: value}),), (Count(kind, 1),))
        slots = {"the": self._phrase("the", kind), "attribute": self._word(attribute)}
        return self._question("attribute", "which", answer, claim, **slots)

    def compare(self) -> Question | None:
        """Two kinds by their numbers, or two things by an attribute."""
        attribute = self.chance.choice(self.attributes)
        if len(self.scene.things) < 2 or self.chance.random() < 0.5:
            kind, other = (
                Kind(**{attribute: value})
                for value in self.chance.sample(values(self.preset, attribute), 2)
            )
            if self.chance.random() < 0.5:  # by chance alone most kinds are not there
                kind = kind_of(self.chance.choice(self.scene.things), [attribute])
            if kind == other:
                return None
            slots = {"kinds": self._phrase("kinds", kind), "others": self._phrase("kinds", other)}
            return self._yes_or_no("compare", "more", (), More(kind, other), **slots)
        things = self._two([a for a in self.attributes if a != attribute])
        if things is None:
            return None
        _, kinds = things
        return self._yes_or_no(
            "compare", "same", kinds, Same(attribute, (0, 1)), attribute=self._word(attribute)
        )

    def relation(self) -> Question | None:
        """A direction in which one thing clearly lies from another, or clearly does not."""
        if len(self.scene.things) < 2 or (found := self._two(self.attributes)) is None:
            return None
        things, kinds = found
        for relation in self.chance.sample(tuple(DIRECTIONS), len(DIRECTIONS)):
            clause = Related(relation, (0, 1))
            clearly = clause.holds(things, self.scene, MARGIN)
            if clearly or not clause.holds(things, self.scene, -MARGIN):
                word = self.language.word("relation", relation, self.chance)
                return self._yes_or_no("relation", "is it", kinds, clause, relation=word)
        return None

    def place(self) -> Question | None:
        """In which ninth of the picture a thing is."""
        thing = self.chance.choice(self.scene.things)
        if (kind := self._only(thing, self.attributes)) is None:
            return None
        where = ninth(thing)
        answer = self.language.words["place"][where][0]
        claim = Claim((kind,), (At(0, where),))
        return self._question("place", "where is", answer, claim, the=self._phrase("the", kind))

    def _some_kind(self) -> Kind:
        """One or two attributes, half the time of a thing that is there."""
        attributes = self.chance.sample(self.attributes, self.chance.randint(1, 2))
        if self.chance.random() < 0.5:
            return kind_of(self.chance.choice(self.scene.things), attributes)
        return Kind(**{a: self.chance.choice(values(self.preset, a)) for a in attributes})

    def _only(self, thing: Thing, attributes: Sequence[str]) -> Kind | None:
        """As few of the attributes as leave no other thing; None if all leave one."""
        order = self.chance.sample(attributes, len(attributes))
        for number in range(1, len(order) + 1):
            named = [a for a in ATTRIBUTES if a in order[:number]]
            kind = kind_of(thing, named)
            if sum(map(kind.matches, self.scene.things)) == 1:
                return kind
        return None

    def _two(self, attributes: Sequence[str]) -> tuple[list[Thing], tuple[Kind, ...]] | None:
        things = self.chance.sample(self.scene.things, 2)
        kinds = tuple(self._only(thing, attributes) for thing in things)
        return None if None in kinds else (things, kinds)

    def _phrase(self, template: str, kind: Kind) -> str:
        return self.language.phrase(template, kind, self.chance)

    def _word(self, attribute: str) -> str:
        return self.language.word("attribute", attribute, self.chance)

    def _yes_or_no(
        self, about: str, template: str, things: tuple[Kind, ...], clause: Clause, **slots: str
    ) -> Question:
        claim = Claim(things, (clause,))
        yes = claim.holds(self.scene)
        for name, kind in zip(("the", "other"), things):
            slots[name] = self._phrase("the", kind)
        claim = claim if yes else Claim((), (Not(claim),))
        return self._question(about, template, yes, claim, **slots)

    def _question(
        self, about: str, template: str, answer: str | bool, claim: Claim, **slots: str
    ) -> Question:
        if isinstance(answer, bool):
            answer = self.language.words["answer"][answer][0]
        return Question(about, self.language.say(template, self.chance, **slots), answer, claim)
