"""Editing a given picture: inside a mask, or as an instruction says."""

import numpy as np
from PIL import Image

from vismem.data.edits import blank
from vismem.data.images import resize
from vismem.drawing import masks
from vismem.drawing.artist import Artist
from vismem.errors import UserError


def edit(
    artist: Artist, picture: np.ndarray, text: str, mask: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """A picture, changed.

    Of a picture that is not square the largest square in the middle is edited; with a mask, the one
    that has the mask nearest to its middle. It is scaled to the model's size and back.

    A model that has learned from masks is not shown what is under one, and paints it anew. Others
    see all of the picture and do what is said, of which what is outside the mask is taken back at
    every step.

    Args:
      picture: uint8 [H, W, 3].
      text: with a mask, what is to be in it: "a yellow cross"; without one, or by a model that has
        not learned from masks, what to do: "paint it blue".
      mask: bool [H, W], where the picture may change; outside, not a bit of it does.
      seed: of the noise.

    Returns:
      uint8 [H, W, 3].
    """
    height, width = picture.shape[:2]
    where = np.ones((height, width), bool) if mask is None else mask
    masks.check(where, picture)
    side = min(height, width)
    rows, columns = (_around(where.any(axis), side) for axis in (1, 0))
    if mask is not None and where.sum() != where[rows, columns].sum():
        raise UserError(f"mask: does not fit into a square of {side} pixels; edit it in parts")
    size = artist.objective.generator.size
    part, where = picture[rows, columns], where[rows, columns]
    kept = None if mask is None else ~_scaled(where, size)
    if kept is None or not artist.objective.inpaints(artist.params):
        shown = resize(part, size, (0, 0, side, side))
    else:
        # Blank before it is scaled, or what is under the mask would shine through at its border.
        shown = blank(resize(blank(part, ~where), size, (0, 0, side, side)), kept)
    kept = None if kept is None else kept[None]
    drawing = artist.draw([text], seed=seed, carry=artist.open(shown[None]), kept=kept)
    drawn = resize(drawing.images[0], side, (0, 0, size, size))
    edited = picture.copy()
    edited[rows, columns] = np.where(where[..., None], drawn, part)
    return edited


def _around(used: np.ndarray, side: int) -> slice:
    """The stretch of `side` of an axis whose middle is nearest to the middle of what is used."""
    first, last = np.flatnonzero(used)[[0, -1]]
    start = (first + last + 1 - side) // 2
    start = min(max(start, 0), len(used) - side)
    return slice(start, start + side)


def _scaled(mask: np.ndarray, size: int) -> np.ndarray:
    """The mask at another size, with every pixel in it that a masked pixel has a part of."""
    share = Image.fromarray(mask.astype(np.float32)).resize((size, size), Image.Resampling.BOX)
    return np.asarray(share) > 0
