"""Conversations about a scene, each a pure function of (seed, split, index).

dialogue = worlds.dialogue("tiny")
talk = dialogue.example("train", 0)   # .texts, .scenes, .claims, .needs_memory, .image(turn, 32)
talk.claims[2].holds(worlds.oracle.read(talk.image(2, 32)))

The splits share no final scene, told apart as the scenes of a world are (world.py): train, val and
test by a hash, compositional has pairs of shape and colour that no other split ever shows.
"""

import collections
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from vismem.errors import UserError
from vismem.registry import nearest
from vismem.worlds.captions import kind_of, values, varied
from vismem.worlds.claims import DIRECTIONS, MARGIN, NINTHS, Claim, Kind
from vismem.worlds.instructions import (
    ROLES,
    Add,
    Again,
    Alter,
    Beside,
    In,
    Instruction,
    Move,
    Named,
    PutBack,
    Recalled,
    Reference,
    Remove,
    State,
    Swap,
    Undo,
    Where,
    interpret,
    needs_memory,
)
from vismem.worlds.phrasing import phrase
from vismem.worlds.render import render
from vismem.worlds.scene import PRESETS, Preset, Scene
from vismem.worlds.world import LANGUAGES, held_out_pairs, part

SPLITS = ("train", "val", "test", "compositional")
_LAST_TRIES = 20  # at a last turn whose scene is in the split, before starting anew
_AXES = (("left of", "right of"), ("above", "below"))


@dataclass(frozen=True)
class Form:
    """How the conversations of a preset go.

    Attributes:
      preset: what the things are made of; `most` are on the canvas at once.
      turns: the fewest and the most.
      actions: action -> how often it is tried, relative to the others.
      roles: what references by memory there are.
      recalling: share of references that are tried by memory.
      beside: share of places that are said by a thing nearby, if there is one; the others are by
        the ninth of the picture.
      two: share of the former that are by two things, if there are two.
    """

    preset: Preset
    turns: tuple[int, int]
    actions: Mapping[str, float]
    roles: tuple[str, ...] = ROLES
    recalling: float = 0.75
    beside: float = 0.5
    two: float = 0.2


FORMS = {
    "tiny": Form(
        replace(PRESETS["tiny"], most=4),
        (1, 8),
        {
            "add": 4,
            "again": 2,
            "remove": 1.5,
            "put back": 6,
            "alter": 2,
            "restore": 5,
            "move": 2,
            "swap": 1,
            "undo": 1.5,
        },
    ),
    # As in El-Nouby et al. 2019: five turns, each adds a thing that lies beside earlier ones. The
    # first has any place, where i-CLEVR has the middle: it would show which one was the first.
    "iclevr": Form(
        replace(PRESETS["tiny"], sizes=("small",), most=5),
        (5, 5),
        {"add": 1},
        roles=("it",),
        beside=1.0,
        two=0.6,
    ),
}


@dataclass(frozen=True)
class Turn:
    """An instruction and what it led to.

    Attributes:
      text: the instruction.
      instruction: its logical form.
      claim: what it asks for: that this is done, and everything else as it was.
      scene: the scene after it, one of those of which the claim holds.
      needs_memory: whether the scene before it leaves open what is asked (instructions.py).
    """

    text: str
    instruction: Instruction
    claim: Claim
    scene: Scene
    needs_memory: bool


@dataclass(frozen=True)
class Conversation:
    """Some turns, the first on an empty canvas.

    Attributes:
      turns: the turns.
      lang: their language, "en" or "zh".
    """

    turns: tuple[Turn, ...]
    lang: str
    _states: tuple[State, ...] = field(repr=False)  # before each turn
    _form: Form = field(repr=False)
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
        speaker = _Speaker(self._form, self._form.preset.pairs, LANGUAGES[self.lang], chance)
        truth, state = self.turns[turn], self._states[turn]
        for instruction in speaker.misunderstandings(state, truth.instruction):
            if miss := speaker.turn(state, instruction, Random(f"words {self._seed}")):
                miss = miss[0]
                confused = truth.claim.holds(miss.scene, -MARGIN)
                if not confused and not miss.claim.holds(truth.scene, -MARGIN):
                    return miss
        raise AssertionError("a speaker never ends")


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
        chance, wording = Random(f"dialogue {seed}"), Random(f"words {seed}")
        if lang == "mixed":
            lang = wording.choice(tuple(LANGUAGES))
        turns = turns or chance.randint(fewest, most)
        pairs = self.form.preset.pairs if split == "compositional" else self._seen
        speaker = _Speaker(self.form, pairs, LANGUAGES[lang], chance)
        while True:
            said, states = [], [State(self.form.preset)]
            while len(said) < turns - 1:
                turn, state = speaker.next(states[-1], wording)
                said.append(turn)
                states.append(state)
            for _ in range(_LAST_TRIES):
                turn, _ = speaker.next(states[-1], wording)
                if self._belongs(turn.scene, split):
                    return Conversation((*said, turn), lang, tuple(states), self.form, seed)

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


class _Speaker:
    """Thinks of instructions by chance.

    Args:
      form: which, and how often.
      pairs: the pairs of shape and colour to choose from.
      language: to say them in.
      chance: where the randomness comes from.
    """

    def __init__(self, form: Form, pairs, language, chance: Random):
        self.form, self.pairs, self.language, self.chance = form, pairs, language, chance
        self.attributes = varied(form.preset)

    def next(self, state: State, wording: Random) -> tuple[Turn, State]:
        while True:
            instruction = self.anything(state)
            if instruction and (turn := self.turn(state, instruction, wording)):
                return turn

    def turn(
        self, state: State, instruction: Instruction, wording: Random
    ) -> tuple[Turn, State] | None:
        """A turn and the state after it; None if the instruction makes no sense here."""
        outcome = interpret(state, instruction)
        if outcome is None:
            return None
        after = outcome.settled((self.chance.random(), self.chance.random()) for _ in range(32))
        if after is None or not all((t.shape, t.color) in self.pairs for t in after.scene.things):
            return None
        text = phrase(instruction, self.language, wording)
        memory = needs_memory(state, instruction)
        return Turn(text, instruction, outcome.claim, after.scene, memory), after

    def anything(self, state: State) -> Instruction | None:
        """An instruction that may make sense, or None."""
        actions = self.form.actions
        (action,) = self.chance.choices(list(actions), actions.values())
        match action:
            case "add":
                return self._add(state)
            case "again":
                return Again(self.chance.choice(tuple(DIRECTIONS)))
            case "put back":
                return PutBack()
            case "undo":
                return Undo(self.chance.randint(1, 3))
        thing = self._reference(state)
        if thing is None:
            return None
        match action:
            case "remove":
                return Remove(thing)
            case "alter":
                attribute = self.chance.choice(self._alterable())
                return Alter(thing, attribute, self.chance.choice(self._values(attribute)))
            case "restore":
                return Alter(thing, self.chance.choice(self._alterable()), None)
            case "move":
                where = self._where(state)
                return where and Move(thing, where)
            case "swap":
                other = self._reference(state)
                return other and Swap(thing, other)

    def misunderstandings(self, state: State, instruction: Instruction) -> Iterator[Instruction]:
        """First the instruction with one part changed, in any order; then anything."""
        changed = []
        named = [self._named(state, number) for number in state.things]
        for slot in ("thing", "first", "second"):
            if hasattr(instruction, slot):
                changed += [replace(instruction, **{slot: name}) for name in named if name]
        match instruction:
            case Add(kind, where):
                for a in self.attributes:
                    changed += [Add(kind._replace(**{a: v}), where) for v in self._values(a)]
            case Alter(thing, attribute, _):
                changed += [Alter(thing, attribute, v) for v in self._values(attribute)]
            case Again():
                changed += map(Again, DIRECTIONS)
            case Undo():
                changed += map(Undo, (1, 2, 3))
        match instruction:
            case Add(where=(In(),)) | Move(where=(In(),)):
                changed += [replace(instruction, where=(In(place),)) for place in NINTHS]
            case Add(where=(Beside(), *_) as where) | Move(where=(Beside(), *_) as where):
                for i, beside in enumerate(where):
                    for relation in DIRECTIONS:
                        other = (*where[:i], replace(beside, relation=relation), *where[i + 1 :])
                        changed.append(replace(instruction, where=other))
        yield from self.chance.sample(changed, len(changed))
        while True:
            if instruction := self.anything(state):
                yield instruction

    def _add(self, state: State) -> Add | None:
        shape, color = self.chance.choice(self.pairs)
        rest = [a for a in self.attributes if a not in ("shape", "color")]
        kind = Kind(shape, color, **{a: self.chance.choice(self._values(a)) for a in rest})
        if any(map(kind.matches, state.things.values())):
            return None  # that is said by "again"
        where = self._where(state)
        return where and Add(kind, where)

    def _where(self, state: State) -> Where | None:
        if not state.things or self.chance.random() >= self.form.beside:
            return (In(self.chance.choice(tuple(NINTHS))),)
        relations = [self.chance.choice(tuple(DIRECTIONS))]
        if len(state.things) > 1 and self.chance.random() < self.form.two:
            relations = [self.chance.choice(axis) for axis in self.chance.sample(_AXES, 2)]
        where = tuple(Beside(relation, self._reference(state)) for relation in relations)
        return where if all(beside.thing for beside in where) else None

    def _reference(self, state: State) -> Reference | None:
        """A way to speak of a thing on the canvas, None if that one does not work."""
        if self.chance.random() < self.form.recalling:
            role = Recalled(self.chance.choice(self.form.roles))
            return None if state.find(role) is None else role
        return self._named(state, self.chance.choice(list(state.things))) if state.things else None

    def _named(self, state: State, number: int) -> Named | None:
        """As few attributes as leave no other thing on the canvas; None if all leave one."""
        order = self.chance.sample(self.attributes, len(self.attributes))
        for count in range(1, len(order) + 1):
            name = Named(kind_of(state.things[number], order[:count]))
            if state.find(name) is not None:
                return name
        return None

    def _alterable(self) -> list[str]:
        return [a for a in ("color", "size") if a in self.attributes]

    def _values(self, attribute: str) -> tuple[str, ...]:
        return values(self.form.preset, attribute)


def _check(name: str, value: str, known) -> None:
    if value not in known:
        raise UserError(f"dialogue: {name}={value!r} is unknown; {nearest(str(value), known)}")


def dialogue(preset: str = "tiny", seed: int = 0) -> Dialogue:
    """The conversations of a preset, "tiny" or "iclevr"."""
    _check("preset", preset, FORMS)
    return Dialogue(FORMS[preset], seed)
