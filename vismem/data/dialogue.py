"""Conversations of the embedded world, drawn as they are asked for."""

from random import Random
from typing import NamedTuple

import numpy as np

from vismem import worlds
from vismem.data import Example
from vismem.errors import UserError
from vismem.worlds.render import render
from vismem.worlds.scene import Scene


class Said(NamedTuple):
    """A turn: what is said, the scene that it asks for, and the one that it leaves to the next."""

    text: str
    scene: Scene
    left: Scene
    needs_memory: bool


class DialogueSource:
    """Pictures and instructions of the turns of a dialogue's split.

    A record has the keys of conversations in data/__init__.py, and `needs_memory`, bool [T], False
    for corrections. A correction follows a turn that was misunderstood: what the turn left is the
    picture of a near miss, and the next one says what is wrong with that; it leads to the picture
    that the turn should have led to. Later turns find no place then if there are too many.

    Args:
      split: "train", "val", "test" or "compositional".
      size: width and height of the pictures in pixels.
      preset: which dialogue, "tiny" or "iclevr".
      lang: "en", "zh" or "mixed".
      turns: of every conversation; as many as the preset has if None.
      corrections: the share of turns that are misunderstood and corrected.
      examples: how many conversations an epoch has.
    """

    def __init__(
        self,
        split: str,
        size: int,
        preset: str = "tiny",
        lang: str = "en",
        turns: int | None = None,
        corrections: float = 0.0,
        examples: int = 1_000_000,
    ):
        if examples < 1:
            raise UserError(f"data.source.examples={examples}: must be at least 1")
        if not 0 <= corrections <= 1:
            raise UserError(f"data.source.corrections={corrections}: must be from 0 to 1")
        self._dialogue, self._split = worlds.dialogue(preset), split
        self._size, self._examples = size, examples
        self._options, self._corrections = {"lang": lang, "turns": turns}, corrections
        self._longest = turns or self._dialogue.form.turns[1]
        self.text(0)  # what is wrong with the options shows here, not in a thread of the loader

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: int) -> Example:
        said = self._said(index)
        arrays = {
            "image": np.stack([render(turn.scene, self._size) for turn in said]),
            "needs_memory": np.array([turn.needs_memory for turn in said]),
        }
        if self._corrections:
            arrays["left"] = np.stack([render(turn.left, self._size) for turn in said])
        texts = tuple(turn.text for turn in said)
        return padded(arrays, texts, self._longest) | {"index": index}

    def text(self, index: int) -> str:
        """The texts of a record, a line each, without drawing its pictures."""
        return "\n".join(turn.text for turn in self._said(index))

    def _said(self, index: int) -> list[Said]:
        talk = self._dialogue.example(self._split, index, **self._options)
        chance = Random(f"corrections {self._split} {index}")
        said = []
        for i, turn in enumerate(talk.turns):
            misunderstood = chance.random() < self._corrections
            left = talk.near_miss(i).scene if misunderstood else turn.scene
            said.append(Said(turn.text, turn.scene, left, turn.needs_memory))
            if misunderstood:
                seed = chance.getrandbits(32)
                text = worlds.corrections.correction(turn.claim, left, talk.lang, seed)
                said.append(Said(text, turn.scene, turn.scene, False))
        return said[: self._longest]


def padded(arrays: dict[str, np.ndarray], texts: tuple[str, ...], turns: int) -> Example:
    """A record of a conversation, filled up with empty turns.

    Args:
      arrays: name -> [T, ...], T the turns that there are.
      texts: T instructions.
      turns: that the record is to have.

    Returns:
      The arrays as [turns, ...], zeros in the empty turns; `texts`; and `mask`, bool [turns].
    """
    missing = turns - len(texts)
    record = {
        name: np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])
        for name, array in arrays.items()
    }
    mask = np.arange(turns) < len(texts)
    return {**record, "texts": (*texts, *[""] * missing), "mask": mask}
