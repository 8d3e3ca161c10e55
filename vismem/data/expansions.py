"""Vague captions of the embedded world with full descriptions of the same scenes, made as they are
asked for."""

import itertools

from vismem import worlds
from vismem.data import Example
from vismem.errors import UserError
from vismem.worlds.world import Caption


class ExpansionSource:
    """Requests, and what they may be expanded to.

    A record has `prompt`, a caption that leaves something open, and `text`, a full description of
    its scene from which the caption follows.

    Args:
      split: "train", "val", "test", "compositional" or "length".
      size: width and height of the pictures in pixels.
      preset: which world, "default" or "tiny".
      lang: "en", "zh" or "mixed"; request and description are in the same.
      count: things in every scene; as the split has them if None.
      examples: how many examples an epoch has.
    """

    def __init__(
        self,
        split: str,
        size: int,
        preset: str = "default",
        lang: str = "en",
        count: int | None = None,
        examples: int = 1_000_000,
    ):
        if examples < 1:
            raise UserError(f"data.source.examples={examples}: must be at least 1")
        self._world, self._split = worlds.world(preset), split
        self._size, self._examples = size, examples
        self._options = {"lang": lang, "style": "vague", "count": count}
        self.text(0)  # what is wrong with the options shows here, not in a thread of the loader

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: int) -> Example:
        example, full = self._pair(index)
        return {
            "image": example.image(self._size),
            "prompt": example.text,
            "text": full.text,
            "index": index,
        }

    def text(self, index: int) -> str:
        """Request and description, a line each, without drawing the picture."""
        example, full = self._pair(index)
        return f"{example.text}\n{full.text}"

    def _pair(self, index: int) -> tuple[worlds.Example, Caption]:
        # Scenes whose captions no full description settles give their place to others.
        for place in itertools.count(index, self._examples):
            example = self._world.example(self._split, place, **self._options)
            if full := example.expansion():
                return example, full
