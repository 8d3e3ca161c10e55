"""Edits of pictures, each a pure function of (seed, split, index).

An edit is a scene before and one after, a text, and its claim on the latter.

Four kinds:
  inpaint   a part of the picture is gone, and the text says which thing is to be there
  instruct  a turn of a conversation for which the canvas suffices
  restyle   all things get another colour or fill, or the picture another background
  restore   the scene stays; what is wrong is the picture (data/edits.py spoils it)
"""

from dataclasses import dataclass, replace
from random import Random

from vismem.errors import UserError
from vismem.registry import nearest
from vismem.worlds.captions import kind_of, varied
from vismem.worlds.claims import MARGIN, Background, Claim, Kind, NothingElse
from vismem.worlds.dialogue import dialogue
from vismem.worlds.meaning import Stays
from vismem.worlds.scene import BACKGROUNDS, COLORS, FILLS, REACH, SIZES, Scene, Thing
from vismem.worlds.world import LANGUAGES, world

KINDS = ("inpaint", "instruct", "restyle", "restore")
STYLES = {"color": tuple(COLORS), "fill": FILLS, "background": tuple(BACKGROUNDS)}
# An edit's mask reaches beyond the thing in it by this much, a share of the picture's width.
_ROOM = (1 / 32, 1 / 6)
_IN_FULL = 0.5  # share of texts that say all of the thing to be painted; others leave its size open

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Edit:
    """What is to be done to a picture.

    Attributes:
      kind: of `KINDS`.
      text: what is said.
      before, after: the scenes.
      claim: what has to hold of the scene after; of "inpaint", of the things in the box.
      box: left, top, right and bottom of what may change, as shares of the picture's width and
        height: all of it but for "inpaint".
    """

    kind: str
    text: str
    before: Scene
    after: Scene
    claim: Claim
    box: Box = (0.0, 0.0, 1.0, 1.0)

    def holds(self, scene: Scene) -> bool:
        """Whether a scene is as the text asks."""
        inside = tuple(thing for thing in scene.things if _inside(thing, self.box))
        return self.claim.holds(replace(scene, things=inside))


class Edits:
    """Edits of scenes of the tiny world, without end.

    The scene after an edit is of the split; of a restyled one, that which the style was given to.
    """

    def __init__(self, seed: int = 0):
        self._world, self._dialogue, self._seed = world("tiny", seed), dialogue("tiny", seed), seed

    def example(self, split: str, index: int, kind: str, lang: str = "en") -> Edit:
        """One of the edits of a kind.

        Args:
          split: "train", "val", "test" or "compositional".
          index: 0 or more.
          kind: of `KINDS`.
          lang: "en" or "zh".
        """
        for name, value, known in (("kind", kind, KINDS), ("lang", lang, LANGUAGES)):
            if value not in known:
                raise UserError(f"edits: {name}={value!r} is unknown; {nearest(value, known)}")
        chance = Random(f"{kind} {self._seed} {split} {index}")
        if kind == "instruct":
            return self._instructed(split, chance, lang)
        scene = self._world.example(split, index).scene
        if kind == "inpaint":
            return self._inpainted(scene, chance, lang)
        if kind == "restyle":
            return self._restyled(scene, split, chance, lang)
        text = LANGUAGES[lang].say("restore", chance)
        return Edit("restore", text, scene, scene, _everything(scene))

    def _instructed(self, split: str, chance: Random, lang: str) -> Edit:
        while True:
            turns = chance.randint(2, 4)
            talk = self._dialogue.example(split, chance.getrandbits(32), lang, turns)
            turn = talk.turns[-1]
            if not turn.needs_memory:
                return Edit("instruct", turn.text, talk.scenes[-2], turn.scene, turn.claim)

    def _inpainted(self, scene: Scene, chance: Random, lang: str) -> Edit:
        thing = chance.choice(scene.things)
        others = [other for other in scene.things if other is not thing]
        while True:  # with little room it is alone in its box
            box = _around(thing, chance)
            if not any(_inside(other, box, MARGIN / 2) for other in others):
                break
        said = varied(self._world.preset) if chance.random() < _IN_FULL else ("shape", "color")
        claim = Claim((kind_of(thing, said),), (NothingElse(),))
        return Edit("inpaint", LANGUAGES[lang].express(claim, chance), scene, scene, claim, box)

    def _restyled(self, scene: Scene, split: str, chance: Random, lang: str) -> Edit:
        # Whatever the preset's own: a palette is no picture's alone.
        before = _styled(scene, "fill", chance.choice(FILLS))
        before = _styled(before, "background", chance.choice(STYLES["background"]))
        style = chance.choice(tuple(STYLES))
        styled = {value: _styled(before, style, value) for value in STYLES[style]}
        value = chance.choice([v for v, after in styled.items() if self._may(before, after, split)])
        after = styled[value]
        language = LANGUAGES[lang]
        word = language.word(style, value, chance)
        text = language.say(f"restyle {style}", chance, **{style: word})
        return Edit("restyle", text, before, after, _everything(after))

    def _may(self, before: Scene, after: Scene, split: str) -> bool:
        """Whether a style changes something, and shows no pair that only another split has."""
        held_out = {(t.shape, t.color) for t in after.things} & self._world.held_out
        return after != before and (split == "compositional" or not held_out)


def _around(thing: Thing, chance: Random) -> Box:
    """A box with room around a thing."""
    left, up, right, down = (
        SIZES[thing.size] * reach + chance.uniform(*_ROOM) for reach in REACH[thing.shape][:4]
    )
    return (
        *(max(thing.x - left, 0.0), max(thing.y - up, 0.0)),
        *(min(thing.x + right, 1.0), min(thing.y + down, 1.0)),
    )


def _inside(thing: Thing, box: Box, margin: float = 0.0) -> bool:
    """Whether the centre of a thing is in a box, or that near to it."""
    left, top, right, bottom = box
    x, y = thing.x, thing.y
    return left - margin <= x <= right + margin and top - margin <= y <= bottom + margin


def _styled(scene: Scene, style: str, value: str) -> Scene:
    if style == "background":
        return replace(scene, background=value)
    return replace(scene, things=tuple(replace(t, **{style: value}) for t in scene.things))


def _everything(scene: Scene) -> Claim:
    """Says all of a scene."""
    stays = (Stays(i, thing.x, thing.y) for i, thing in enumerate(scene.things))
    kinds = tuple(Kind(t.shape, t.color, t.size, t.fill) for t in scene.things)
    return Claim(kinds, (*stays, Background(scene.background), NothingElse()))
