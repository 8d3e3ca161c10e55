"""Who gives the instructions of a conversation: what is said next, and what could be misheard."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from vismem.worlds.captions import kind_of, values, varied
from vismem.worlds.claims import NINTHS, Claim, Kind
from vismem.worlds.instructions import (
    DIAGONAL,
    ROLES,
    SIDES,
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
    Swap,
    Undo,
    Where,
)
from vismem.worlds.language import Language
from vismem.worlds.meaning import State, interpret, needs_memory
from vismem.worlds.phrasing import phrase
from vismem.worlds.scene import PRESETS, Preset, Scene

_TRIES = 1000  # at a turn; one in a few makes sense, and of those one in ten is in a small split
_STEPS = (1, 2, 3)  # that are undone at once


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
      sides: of other things, which are in use.
    """

    preset: Preset
    turns: tuple[int, int]
    actions: Mapping[str, float]
    roles: tuple[str, ...] = ROLES
    recalling: float = 0.75
    beside: float = 0.5
    two: float = 0.2
    sides: tuple[str, ...] = tuple(SIDES)


FORMS = {
    "tiny": Form(
        replace(PRESETS["tiny"], most=4),
        (1, 8),
        {
            "add": 20,
            "again": 2,
            "remove": 1,
            "put back": 8,
            "alter": 2,
            "restore": 6,
            "move": 2,
            "swap": 2,
            "undo": 1,
        },
    ),
    # As in El-Nouby et al. 2019: five turns, each adds a thing, placed along both axes by the last
    # one or by others. The first has any place, where i-CLEVR has the middle: that would show which
    # one was the first.
    "iclevr": Form(
        replace(PRESETS["tiny"], sizes=("small",), most=5),
        (5, 5),
        {"add": 1},
        roles=("it",),
        beside=1.0,
        two=0.4,
        sides=tuple(DIAGONAL),
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
      needs_memory: whether the scene before it does not tell what is asked (meaning.py).
    """

    text: str
    instruction: Instruction
    claim: Claim
    scene: Scene
    needs_memory: bool


class Speaker:
    """Thinks of instructions by chance.

    Args:
      form: which, and how often.
      pairs: the pairs of shape and colour to choose from.
      language: to say them in.
      chance: where the randomness comes from.
    """

    def __init__(
        self,
        form: Form,
        pairs: Sequence[tuple[str, str]],
        language: Language,
        chance: Random,
    ):
        self.form, self.pairs, self.language, self.chance = form, pairs, language, chance
        self.attributes = varied(form.preset)

    def next(
        self, state: State, wording: Random, accepts: Callable[[Scene], bool] = lambda scene: True
    ) -> tuple[Turn, State] | None:
        """A turn and the state after it, with a scene that is accepted; None if none is found."""
        for _ in range(_TRIES):
            instruction = self.anything(state)
            if instruction and (found := self.turn(state, instruction, wording, accepts)):
                return found
        return None

    def turn(
        self,
        state: State,
        instruction: Instruction,
        wording: Random,
        accepts: Callable[[Scene], bool] = lambda scene: True,
    ) -> tuple[Turn, State] | None:
        """A turn and the state after it; None if the instruction makes no sense here, or if the
        scene is not accepted."""
        outcome = interpret(state, instruction)
        if outcome is None:
            return None
        after = outcome.settled((self.chance.random(), self.chance.random()) for _ in range(16))
        if after is None or not all((t.shape, t.color) in self.pairs for t in after.scene.things):
            return None
        if not accepts(after.scene):
            return None
        text = phrase(instruction, self.language, wording)
        memory = needs_memory(state, instruction)
        return Turn(text, instruction, outcome.claim, after.scene, memory), after

    def anything(self, state: State) -> Instruction | None:
        """An instruction that may make sense, or None."""
        weights = dict(self.form.actions)
        # Mostly a second thing comes early: with one there is little to recall.
        weights["add"] /= max(len(state.things), 1) ** 2
        (action,) = self.chance.choices(list(weights), weights.values())
        match action:
            case "add":
                return self._add(state)
            case "again":
                return Again(self.chance.choice(self.form.sides))
            case "put back":
                return PutBack()
            case "undo":
                return Undo(self.chance.choice(_STEPS))
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
        changes: list[list[Instruction]] = []
        names = [name for n in state.things if (name := self._named(state, n))]
        for slot in ("thing", "first", "second"):
            if hasattr(instruction, slot):
                changes.append([replace(instruction, **{slot: name}) for name in names])
        match instruction:
            case Add(kind, where):
                for a in self.attributes:
                    others = [kind._replace(**{a: v}) for v in self._values(a)]
                    changes.append([Add(other, where) for other in others])
            case Alter(thing, attribute, _):
                changes.append([Alter(thing, attribute, v) for v in self._values(attribute)])
            case Again():
                changes.append([Again(side) for side in self.form.sides])
            case Undo():
                changes.append([Undo(number) for number in _STEPS])
        for i, place in enumerate(getattr(instruction, "where", ())):
            others = [In(p) for p in NINTHS]
            if isinstance(place, Beside):
                others = [replace(place, side=side) for side in self.form.sides]
            where = instruction.where
            wheres = [(*where[:i], other, *where[i + 1 :]) for other in others]
            changes.append([replace(instruction, where=other) for other in wheres])
        # First a part, then what it becomes: colours have the most values.
        for several in self.chance.sample(changes, len(changes)):
            yield from self.chance.sample(several, len(several))
        while True:
            if other := self.anything(state):
                yield other

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
        two = len(state.things) > 1 and self.chance.random() < self.form.two
        sides = self.chance.choices(self.form.sides, k=1 + two)
        where = tuple(Beside(side, self._reference(state)) for side in sides)
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
