"""Conversations about a scene, each a pure function of (seed, split, index).

dialogue = worlds.dialogue("tiny")
talk = dialogue.example("train", 0)   # .texts, .scenes, .claims, .needs_memory, .image(turn, 32)
talk.claims[2].holds(worlds.oracle.read(talk.image(2, 32)))

The splits share no final scene, told apart as the scenes of a world are (world.py): train, val and
test by a hash, compositional has pairs of shape and colour that no other split ever shows.
"""

import collections
from dataclasses import dataclass, field
from random import Random

import numpy as np

from vismem.errors import UserError
from vismem.registry import nearest
from vismem.worlds.claims import MARGIN, Claim
from vismem.worlds.meaning import State
from vismem.worlds.render import render
from vismem.worlds.scene import Scene
from vismem.worlds.speaker import FORMS, Form, Speaker, Turn
from vismem.worlds.world import LANGUAGES, held_out_pairs, part

SPLITS = ("train", "val", "test", "compositional")


@dataclass(frozen=True)
class Conversation:
    """Some turns, the first on an empty canvas.

    Attributes:
      turns: the turns.
      lang: their language, "en" or "zh".
    """

    turns: tuple[Turn, ...]
    _states: tuple[State, ...] = field(repr=False)  # before each turn
    lang: str
    _form: Form = field(repr=False)
    _pairs: tuple[tuple[str, str], ...] = field(repr=False)  # of shape and colour, in this split
    _seed: str = field(repr=False)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(turn.text for turn in self.turns)

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scene after each turn."""
        return tuple(turn.scene for turn in self.turns)

    @property
    def claims(self) -> tuple[Claim, ...]:
        return tuple(turn.claim for turn in self.turns)

    @property
    def needs_memory(self) -> tuple[bool, ...]:
        return tuple(turn.needs_memory for turn in self.turns)

    def image(self, turn: int, size: int) -> np.ndarray:
        """The picture after a turn, uint8 [size, size, 3]."""
        return render(self.turns[turn].scene, size)

    def near_miss(self, turn: int, index: int = 0) -> Turn:
        """Another instruction in place of a turn's, mostly with one thing, value or place changed.

        Its scene is false of the turn's claim, and the turn's scene is false of its claim.

        Args:
          index: 0, 1, ...: which of the many there are; two indices may give the same one.
        """
        chance = Random(f"near miss {self._seed} {turn} {index}")
        speaker = Speaker(self._form, self._pairs, LANGUAGES[self.lang], chance)
        truth, state = self.turns[turn], self._states[turn]
        for instruction in speaker.misunderstandings(state, truth.instruction):
            if found := speaker.turn(state, instruction, _wording(self._seed, turn)):
                miss, _ = found
                confused = truth.claim.holds(miss.scene, -MARGIN)
                if not confused and not miss.claim.holds(truth.scene, -MARGIN):
                    return miss
        raise AssertionError("misunderstandings never end")


class Dialogue:
    """Conversations of a form, without end.

    Attributes:
      form: how they go.
      seed: another seed gives other conversations, in the same splits.
      held_out: the pairs of shape and colour that only the compositional split has.
    """

    def __init__(self, form: Form, seed: int = 0):
        if seed < 0:
            raise UserError(f"dialogue: seed={seed} must be 0 or more")
        self.form, self.seed = form, seed
        self.held_out = held_out_pairs(form.preset)
        self._seen = tuple(pair for pair in form.preset.pairs if pair not in self.held_out)

    def example(
        self, split: str, index: int, lang: str = "en", turns: int | None = None
    ) -> Conversation:
        """One of the conversations of a split.

        Args:
          split: "train", "val", "test" or "compositional".
          index: 0 or more.
          lang: "en", "zh" or "mixed", either of them by chance.
          turns: how many; by default as many as the form has, by chance.
        """
        _check("split", split, SPLITS)
        _check("lang", lang, (*LANGUAGES, "mixed"))
        fewest, most = self.form.turns
        if turns is not None and not fewest <= turns <= most:
            raise UserError(f"dialogue: turns={turns}; there are {fewest} to {most}")
        if index < 0:
            raise UserError(f"dialogue: index={index} must be 0 or more")
        seed = f"{self.seed} {split} {index}"
        chance = Random(f"dialogue {seed}")
        if lang == "mixed":
            lang = Random(f"lang {seed}").choice(tuple(LANGUAGES))
        turns = turns or chance.randint(fewest, most)
        pairs = self.form.preset.pairs if split == "compositional" else self._seen
        speaker = Speaker(self.form, pairs, LANGUAGES[lang], chance)
        while True:
            if told := self._told(speaker, split, turns, seed):
                return Conversation(*told, lang, self.form, pairs, seed)

    def _told(
        self, speaker: Speaker, split: str, turns: int, seed: str
    ) -> tuple[tuple[Turn, ...], tuple[State, ...]] | None:
        """Turns that end in a scene of the split, the states before them; None if that fails."""
        said, states = [], [State(self.form.preset)]
        for i in range(turns):

            def accepts(scene: Scene, last: bool = i == turns - 1) -> bool:
                return not last or self._belongs(scene, split)

            found = speaker.next(states[-1], _wording(seed, i), accepts)
            if found is None:
                return None
            said.append(found[0])
            states.append(found[1])
        return tuple(said), tuple(states[:-1])

    def shares(self, split: str = "train", count: int = 1000) -> dict[str, float]:
        """Of the turns of `count` conversations, the shares that "needs memory" and that "canvas
        suffices", and the share of every action among all turns, by its name."""
        counts = collections.Counter()
        for index in range(count):
            for turn in self.example(split, index).turns:
                counts["needs memory" if turn.needs_memory else "canvas suffices"] += 1
                counts[type(turn.instruction).__name__] += 1
        turns = counts["needs memory"] + counts["canvas suffices"]
        return {name: number / turns for name, number in counts.items()}

    def _belongs(self, scene: Scene, split: str) -> bool:
        if split == "compositional":
            return any((t.shape, t.color) in self.held_out for t in scene.things)
        return part(scene) == split


def _wording(seed: str, turn: int) -> Random:
    """What the synonyms of a turn are picked by: a near miss is worded like its turn."""
    return Random(f"words {seed} {turn}")


def _check(name: str, value: str, known) -> None:
    if value not in known:
        raise UserError(f"dialogue: {name}={value!r} is unknown; {nearest(str(value), known)}")


def dialogue(preset: str = "tiny", seed: int = 0) -> Dialogue:
    """The conversations of a preset, "tiny" or "iclevr"."""
    _check("preset", preset, FORMS)
    return Dialogue(FORMS[preset], seed)
