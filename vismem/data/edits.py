"""Pictures that are to be changed: the embedded world's edits, as conversations of one turn."""

import math
from collections.abc import Mapping
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from vismem import worlds
from vismem.data import Example
from vismem.errors import UserError
from vismem.worlds.edits import KINDS, Edit
from vismem.worlds.render import render

DAMAGES = ("noise", "blur", "downscaled", "occluded")
GREY = 128  # what is gone from a picture


class EditSource:
    """Edits of a split, the kinds mixed by chance.

    A record has the keys of a conversation of one turn in data/__init__.py: `first` is the picture
    to be changed, `kept` what of it must stay, `image` what becomes of it.

    Args:
      split: "train", "val", "test" or "compositional".
      size: width and height of the pictures in pixels.
      kinds: of worlds/edits.py, how often each comes relative to the others.
      lang: "en" or "zh".
      examples: how many edits an epoch has.
    """

    def __init__(
        self,
        split: str,
        size: int,
        kinds: Mapping[str, float] | None = None,
        lang: str = "en",
        examples: int = 1_000_000,
    ):
        if examples < 1:
            raise UserError(f"data.source.examples={examples}: must be at least 1")
        kinds = dict.fromkeys(KINDS, 1.0) if kinds is None else kinds
        if not any(kinds.values()) or not all(0 <= x < math.inf for x in kinds.values()):
            raise UserError(
                f"data.source.kinds={dict(kinds)}: needs a share above 0, none below or not finite"
            )
        self._edits, self._kinds = worlds.Edits(), kinds
        self._split, self._size, self._lang, self._examples = split, size, lang, examples
        for kind in kinds:  # what is wrong with the options shows here
            self._edits.example(split, 0, kind, lang)

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: int) -> Example:
        edit = self._edit(index)
        first, kept = shown(edit, self._size, index)
        return {
            "image": render(edit.after, self._size)[None],
            "texts": (edit.text,),
            "mask": np.ones(1, bool),
            "first": first,
            "kept": kept[None],
            "index": index,
        }

    def text(self, index: int) -> str:
        """The text of a record, without its pictures."""
        return self._edit(index).text

    def _edit(self, index: int) -> Edit:
        chance = Random(f"kind {self._split} {index}")
        (kind,) = chance.choices(list(self._kinds), self._kinds.values())
        return self._edits.example(self._split, index, kind, self._lang)


def shown(edit: Edit, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What of an edit is shown: the picture to be changed, uint8 [size, size, 3], and which of its
    pixels must stay, bool [size, size]; without a mask none must.

    Args:
      seed: of what is wrong with a picture to be restored.
    """
    picture, kept = render(edit.before, size), np.zeros((size, size), bool)
    if edit.kind == "restore":
        return spoil(picture, DAMAGES[seed % len(DAMAGES)], seed), kept
    if edit.kind == "inpaint":
        left, top, right, bottom = (edge * size for edge in edit.box)
        kept[:] = True
        kept[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = False
        picture = blank(picture, kept)
    return picture, kept


def blank(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The picture, uint8 [H, W, 3], with nothing to be seen but what is kept, bool [H, W]."""
    return np.where(kept[..., None], picture, np.uint8(GREY))


def spoil(picture: np.ndarray, damage: str, seed: int) -> np.ndarray:
    """A picture, uint8 [S, S, 3], with one of the `DAMAGES`."""
    size, rng = len(picture), np.random.default_rng((seed, DAMAGES.index(damage)))
    if damage == "noise":
        noisy = picture + rng.uniform(20, 60) * rng.standard_normal(picture.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)
    image = Image.fromarray(picture)
    if damage == "blur":
        radius = rng.uniform(1, 2) * size / 32
        return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))
    if damage == "downscaled":
        small = image.resize((size // rng.integers(2, 4),) * 2, Image.Resampling.BOX)
        return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR))
    kept = np.ones((size, size), bool)
    for _ in range(rng.integers(2, 5)):
        left, top = rng.integers(0, size, 2)
        width, height = rng.integers(size // 8, size // 4, 2)
        kept[top : top + height, left : left + width] = False
    return blank(picture, kept)
