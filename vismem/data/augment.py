"""Augmentations: each a small class, called with an example and the record's own random numbers.

What a text says about left and right stays true (`Flip` sees to it). Of what else it may say they
know nothing: `Affine` moves things, `Crop` may lose them, a hue changes colours. Use those where
texts do not go into that.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from vismem.data import Example
from vismem.data.images import resize
from vismem.errors import UserError

Range = tuple[float, float]

_MIRRORED = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "左": "右"}
_MIRRORED |= {b: a for a, b in _MIRRORED.items()}
_SIDES = re.compile(
    # "leftmost", "rightwards" and "left-hand" are sides, "copyright" and "leftover" are not.
    r"\b(?:left|right|Left|Right|LEFT|RIGHT)(?=(?i:most|wards?)?\b)|[左右]"
)


def mirror(text: str) -> str:
    """The text with left and right exchanged, English and Chinese."""
    return _SIDES.sub(lambda side: _MIRRORED[side[0]], text)


def _check(key: str, values: Range, least: float, most: float = np.inf) -> None:
    """Refuses values that do not rise within [least, most]."""
    if not least <= values[0] <= values[1] <= most:
        raise UserError(f"data.augment.{key}={values}: must rise within {least} .. {most}")


@dataclass(frozen=True)
class Crop:
    """A random part of the picture, scaled to `size` (as for Inception, Szegedy et al. 2015).

    Attributes:
      size: width and height of the result in pixels.
      area: least and largest share of the picture's area.
      ratio: least and largest width / height.
    """

    size: int
    area: Range = (0.5, 1.0)
    ratio: Range = (3 / 4, 4 / 3)

    def __post_init__(self):
        _check("crop.area", self.area, 0.01, 1)
        _check("crop.ratio", self.ratio, 0.01, 100)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        height, width = example["image"].shape[:2]
        area = rng.uniform(*self.area) * height * width
        ratio = np.exp(rng.uniform(*np.log(self.ratio)))
        w, h = min(width, np.sqrt(area * ratio)), min(height, np.sqrt(area / ratio))
        left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
        box = (left, top, left + w, top + h)
        return {**example, "image": resize(example["image"], self.size, box)}


@dataclass(frozen=True)
class Flip:
    """Left to right, for half of the examples.

    Attributes:
      sides: what becomes of texts that mention left or right: "swap" exchanges the words, "skip"
        leaves such examples as they are.
    """

    sides: Literal["swap", "skip"] = "swap"

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        said = {key: example[key] for key in ("text", "prompt") if key in example}
        if rng.random() < 0.5 or (self.sides == "skip" and any(map(_SIDES.search, said.values()))):
            return example
        flipped = {"image": example["image"][:, ::-1]}
        flipped |= {key: mirror(text) for key, text in said.items()}
        if "near_misses" in example:
            flipped["near_misses"] = tuple(map(mirror, example["near_misses"]))
        return {**example, **flipped}


@dataclass(frozen=True)
class Affine:
    """Rotation, shift and zoom about the middle, in one interpolation; edges are continued.

    Attributes:
      rotate: degrees at most, either way.
      shift: share of the picture's width at most, in each direction.
      zoom: least and largest factor.
    """

    rotate: float = 0.0
    shift: float = 0.0
    zoom: Range = (1.0, 1.0)

    def __post_init__(self):
        _check("affine.rotate", (0, self.rotate), 0, 180)
        _check("affine.shift", (0, self.shift), 0, 1)
        _check("affine.zoom", self.zoom, 0.01, 100)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        image = example["image"]
        angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate))
        factor = np.exp(rng.uniform(*np.log(self.zoom)))
        side = np.array(image.shape[:2])
        moved = side * rng.uniform(-self.shift, self.shift, 2)
        # Where each pixel [row, column] of the result comes from.
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / factor
        middle = (side - 1) / 2
        offset = middle - turn @ (middle + moved)
        channels = [
            ndimage.affine_transform(c, turn, offset, order=1, mode="nearest")
            for c in np.moveaxis(image, -1, 0)
        ]
        return {**example, "image": np.stack(channels, axis=-1)}


@dataclass(frozen=True)
class Color:
    """Jitter of brightness, contrast, saturation and hue.

    Attributes:
      brightness, contrast, saturation: the factor lies in 1 - value .. 1 + value.
      hue: share of the colour circle at most, either way.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for key, most in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)):
            _check(f"color.{key}", (0, getattr(self, key)), 0, most)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        image = example["image"]
        shift = round(rng.uniform(-self.hue, self.hue) * 256)
        if shift:
            hsv = np.array(Image.fromarray(image).convert("HSV"))
            hsv[..., 0] += np.uint8(shift % 256)
            image = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
        image = image.astype(np.float32)
        for most, reference in (
            (self.brightness, lambda x: 0.0),
            (self.contrast, lambda x: _grey(x).mean()),
            (self.saturation, _grey),
        ):
            factor = rng.uniform(1 - most, 1 + most)
            base = reference(image)
            image = base + factor * (image - base)
        return {**example, "image": np.rint(image.clip(0, 255)).astype(np.uint8)}


def _grey(image: np.ndarray) -> np.ndarray:
    return image @ np.array([[0.299], [0.587], [0.114]], np.float32)


@dataclass(frozen=True)
class Blur:
    """Gaussian blur.

    Attributes:
      sigma: least and largest standard deviation in pixels of the final picture.
      share: of the examples that are blurred.
    """

    sigma: Range = (0.1, 1.0)
    share: float = 0.5

    def __post_init__(self):
        _check("blur.sigma", self.sigma, 0)
        _check("blur.share", (0, self.share), 0, 1)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        if rng.random() >= self.share:
            return example
        sigma = rng.uniform(*self.sigma)
        # Rounded, not cut off, as uint8 would be.
        image = ndimage.gaussian_filter(example["image"].astype(np.float32), (sigma, sigma, 0))
        return {**example, "image": np.rint(image).astype(np.uint8)}
