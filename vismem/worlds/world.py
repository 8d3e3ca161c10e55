"""A world: examples, each a pure function of (seed, split, index).

The splits share no scene, where scenes with the same things in the same ninths of the picture on
the same background count as one: train, val and test by a hash; compositional has pairs of shape
and colour that no other split has; length has one thing more than the rest.
"""

import functools
import zlib
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import numpy as np

from vismem.errors import UserError
from vismem.registry import nearest
from vismem.worlds import captions
from vismem.worlds.chinese import CHINESE
from vismem.worlds.claims import Claim
from vismem.worlds.english import ENGLISH
from vismem.worlds.implication import implies
from vismem.worlds.language import Language
from vismem.worlds.questions import Question, questions
from vismem.worlds.render import render
from vismem.worlds.scene import PRESETS, Preset, Scene, lined_up, sample_scene

LANGUAGES: dict[str, Language] = {"en": ENGLISH, "zh": CHINESE}
_LINED_UP = 0.4  # share of scenes of three and more things that are put in a line, if they fit
SPLITS = ("train", "val", "test", "compositional", "length")
STYLES = ("fixed", "vague", "any")


class Caption(NamedTuple):
    """A text and what it claims."""

    text: str
    claim: Claim


@dataclass(frozen=True)
class Example:
    """A scene and a caption of it.

    Attributes:
      scene: what there is.
      text: the caption.
      claim: what the caption claims; it holds of the scene.
      lang: the caption's language, "en" or "zh".
    """

    scene: Scene
    text: str
    claim: Claim
    lang: str
    _preset: Preset = field(repr=False)
    _pairs: tuple[tuple[str, str], ...] = field(repr=False)  # of shape and colour, in its split
    _seed: int = field(repr=False)

    def image(self, size: int) -> np.ndarray:
        """The picture of the scene, uint8 [size, size, 3]."""
        return render(self.scene, size)

    def near_miss(self, index: int = 0) -> Caption:
        """The caption with one attribute, place, relation or count changed: false of the scene.

        Args:
          index: 0, 1, ...: which of the many there are; two indices may give the same one.
        """
        chance = Random(f"near miss {self._seed} {index}")
        claim = captions.near_miss(self.claim, self.scene, self._preset, self._pairs, chance)
        return Caption(LANGUAGES[self.lang].express(claim, Random(self._seed)), claim)

    def expansion(self) -> Caption | None:
        """A full description of the scene from which the caption follows, in its language; None if
        none is found. It says what the caption says as the caption says it, where it can: what is
        below something is not turned into something above it."""
        chance = Random(f"expansion {self._seed}")
        full = [captions.fixed(self.scene, self._preset, chance) for _ in range(16)]
        full = [c for c in full if implies(c, self.claim, self._preset)]
        if not full:
            return None
        claim = max(full, key=lambda c: len({*c.clauses} & {*self.claim.clauses}))  # the first such
        return Caption(LANGUAGES[self.lang].express(claim, chance), claim)

    def questions(self, index: int = 0) -> list[Question]:
        """Questions about the scene in the caption's language, at most one of every sort.

        Args:
          index: 0, 1, ...: which set of questions.
        """
        chance = Random(f"questions {self._seed} {index}")
        return questions(self.scene, self._preset, LANGUAGES[self.lang], chance)


class World:
    """Scenes and captions of a preset, without end.

    Attributes:
      preset: what the scenes are made of.
      seed: another seed gives other examples, in the same splits.
      held_out: the pairs of shape and colour that only the compositional split has.
    """

    def __init__(self, preset: Preset, seed: int = 0):
        if seed < 0:
            raise UserError(f"world: seed={seed} must be 0 or more")
        self.preset, self.seed = preset, seed
        self.held_out = held_out_pairs(preset)
        self._seen = tuple(pair for pair in preset.pairs if pair not in self.held_out)

    def example(
        self, split: str, index: int, lang: str = "en", style: str = "any", count: int | None = None
    ) -> Example:
        """One of the examples of a split.

        Args:
          split: "train", "val", "test", "compositional" or "length".
          index: 0 or more.
          lang: "en", "zh" or "mixed", either of them by chance.
          style: "fixed" names every thing in full and fixes its place or relation; "vague" leaves
            something open; "any" is one or the other by chance.
          count: the number of things; by default 1 to `preset.most` by chance, one more in length.
        """
        _check("split", split, SPLITS)
        _check("lang", lang, (*LANGUAGES, "mixed"))
        _check("style", style, STYLES)
        if index < 0:
            raise UserError(f"world: index={index} must be 0 or more")
        rng = np.random.default_rng([self.seed, zlib.crc32(split.encode()), index])
        scene = self._scene(rng, split, self._count(split, count, rng))
        chance = Random(int(rng.integers(2**62)))
        if lang == "mixed":
            lang = chance.choice(tuple(LANGUAGES))
        if style == "any":
            style = chance.choice(("fixed", "vague"))
        describe = captions.fixed if style == "fixed" else captions.vague
        claim = describe(scene, self.preset, chance)
        seed = chance.getrandbits(62)
        text = LANGUAGES[lang].express(claim, Random(seed))
        return Example(scene, text, claim, lang, self.preset, self._pairs(split), seed)

    def parse(self, text: str, lang: str = "en") -> Claim:
        """What a caption in the world's own language claims; UserError if it is not in it."""
        _check("lang", lang, LANGUAGES)
        return captions.closed(LANGUAGES[lang].parse(text), self.preset)

    def _count(self, split: str, count: int | None, rng: np.random.Generator) -> int:
        most = self.preset.most
        fewest, most = (most + 1, 5) if split == "length" else (1, most)
        if count is None:
            return fewest if split == "length" else int(rng.integers(1, most + 1))
        if not fewest <= count <= most:
            raise UserError(f"world: count={count} in {split}; it has {fewest} to {most} things")
        return count

    def _pairs(self, split: str) -> tuple[tuple[str, str], ...]:
        """Pairs of shape and colour that a split may have."""
        return self.preset.pairs if split == "compositional" else self._seen

    def _scene(self, rng: np.random.Generator, split: str, count: int) -> Scene:
        while True:
            scene = sample_scene(rng, self.preset, count, self._pairs(split))
            if count > 2 and rng.random() < _LINED_UP:
                scene = lined_up(rng, scene, self.preset.gap)
            if split == "length":
                return scene
            if split == "compositional":
                if any((t.shape, t.color) in self.held_out for t in scene.things):
                    return scene
            elif part(scene) == split:
                return scene


def part(scene: Scene) -> str:
    """The split to which the content of a scene belongs: a tenth each to val and test."""
    things = sorted((t.shape, t.color, t.size, t.fill, captions.ninth(t)) for t in scene.things)
    share = zlib.crc32(repr((scene.background, things)).encode()) % 10
    return ("val", "test")[share] if share < 2 else "train"


@functools.cache
def held_out_pairs(preset: Preset) -> frozenset[tuple[str, str]]:
    """About a sixth of all pairs of shape and colour, chosen by hash and spread evenly, so that
    every shape and every colour is left in others."""
    wanted = len(preset.pairs) // 6
    most = {shape: -(-wanted // len(preset.shapes)) for shape in preset.shapes}
    most |= {color: -(-wanted // len(preset.colors)) for color in preset.colors}
    held_out = []
    for pair in sorted(preset.pairs, key=lambda pair: zlib.crc32(" ".join(pair).encode())):
        if len(held_out) < wanted and all(most[name] > 0 for name in pair):
            held_out.append(pair)
            for name in pair:
                most[name] -= 1
    return frozenset(held_out)


def _check(name: str, value: str, known) -> None:
    if value not in known:
        raise UserError(f"world: {name}={value!r} is unknown; {nearest(str(value), known)}")


def world(preset: str = "default", seed: int = 0) -> World:
    """The world of a preset, "default" or "tiny"."""
    _check("preset", preset, PRESETS)
    return World(PRESETS[preset], seed)
