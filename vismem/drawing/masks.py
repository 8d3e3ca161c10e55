"""Masks: where a picture may change, bool [H, W], as users give them."""

import math
import os

import numpy as np

from vismem.data import images
from vismem.errors import UserError


def read(file: str | os.PathLike) -> np.ndarray:
    """A picture's white pixels; what is transparent is not white."""
    return images.read_file(file, background=(0, 0, 0)).mean(-1) >= 128


def rectangle(
    left: float, top: float, right: float, bottom: float, shape: tuple[int, int]
) -> np.ndarray:
    """Every pixel that a rectangle has a part of.

    Args:
      left, top, right, bottom: its edges, as shares of the picture's width and height.
      shape: of the picture, (H, W).
    """
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise UserError(
            f"mask: {left:g} {top:g} {right:g} {bottom:g}: must be left, top, right and bottom "
            "from 0 to 1, left before right and top before bottom"
        )
    height, width = shape
    mask = np.zeros(shape, bool)
    rows = slice(math.floor(top * height), math.ceil(bottom * height))
    mask[rows, math.floor(left * width) : math.ceil(right * width)] = True
    return mask


def check(mask: np.ndarray, picture: np.ndarray) -> None:
    """One line, if a mask is not of a picture [H, W, 3] or leaves all of it as it is."""
    if mask.dtype != bool:  # where ~1 is 254, and true
        raise UserError(f"mask: {mask.dtype}; must be bool: mask > 127, say")
    height, width = picture.shape[:2]
    if mask.shape != (height, width):
        raise UserError(
            f"mask: {mask.shape[1]} x {mask.shape[0]} pixels; the picture has {width} x {height}"
        )
    if not mask.any():
        raise UserError("mask: nothing may change; paint white what may")
