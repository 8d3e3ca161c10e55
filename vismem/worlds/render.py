"""Draws scenes: anti-aliased, at any resolution from 32 px."""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw

from vismem.errors import UserError
from vismem.worlds.scene import BACKGROUNDS, COLORS, OUTLINES, SIZES, Scene

# Sub-pixel positions per axis. Shapes are rasterised once for each and then pasted: an eighth of a
# pixel is the largest error, and a picture takes microseconds a thing.
PHASES = 4
# Of outline and stripes, in units of the radius.
_LINE = 0.24
_STRIPE_PERIOD = 0.5


def render(scene: Scene, size: int) -> np.ndarray:
    """Draws a scene of things whose attributes are all known.

    Args:
      scene: what to draw; later things lie over earlier ones.
      size: width and height of the picture in pixels, at least 32.

    Returns:
      uint8 [size, size, 3], RGB.
    """
    if size < 32:
        raise UserError(f"a picture of {size} px: the world can be drawn from 32 px")
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = BACKGROUNDS[scene.background]
    for thing in scene.things:
        column, x_phase = divmod(round(thing.x * size * PHASES), PHASES)
        row, y_phase = divmod(round(thing.y * size * PHASES), PHASES)
        mask = coverage(thing.shape, SIZES[thing.size] * size, thing.fill, x_phase, y_phase)
        half = mask.shape[0] // 2
        # A thing may reach over the picture's edge: cut the mask to what is inside.
        top, left = max(half - row, 0), max(half - column, 0)
        mask = mask[top : half + size - row, left : half + size - column, None]
        rows = slice(row - half + top, row - half + top + mask.shape[0])
        columns = slice(column - half + left, column - half + left + mask.shape[1])
        patch = canvas[rows, columns]
        patch += mask * (np.array(COLORS[thing.color], np.float32) - patch)
    return np.rint(canvas).astype(np.uint8)


@functools.lru_cache(maxsize=8192)
def coverage(shape: str, radius: float, fill: str, x_phase: int, y_phase: int) -> np.ndarray:
    """The share of each pixel that a shape covers.

    Args:
      shape, fill: as in `Thing`.
      radius: in pixels.
      x_phase, y_phase: where the centre lies, in 1/`PHASES` of a pixel right of and below the
        top left corner of pixel [H, H].

    Returns:
      float32 [2 H + 1, 2 H + 1] in [0, 1], with H large enough for every shape of this radius.
    """
    half = math.ceil(1.3 * radius + 1)
    # Pillow's polygons are up to half a pixel fat; the finer, the less that matters.
    fine = 16 if radius < 12 else 8
    side = (2 * half + 1) * fine
    centre = fine * (half + np.array([x_phase, y_phase]) / PHASES)
    corners = OUTLINES[shape] * radius * fine

    def polygon(corners: np.ndarray) -> np.ndarray:
        picture = Image.new("L", (side, side))
        # Pillow's pixel [0, 0] has its centre at (0, 0); ours at (0.5, 0.5).
        ImageDraw.Draw(picture).polygon([tuple(p) for p in corners + centre - 0.5], fill=1)
        return np.asarray(picture, np.float32)

    mask = polygon(corners)
    if fill != "solid":
        inside = polygon(_inset(corners, _LINE * radius * fine))
        if fill == "striped":
            height = (np.arange(side) + 0.5 - centre[1]) / (radius * fine)
            inside[np.abs((height / _STRIPE_PERIOD + 0.5) % 1 - 0.5) < 0.25] = 0
        mask -= inside
    pixels = mask.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean((1, 3))
    pixels.setflags(write=False)
    return pixels


def _inset(corners: np.ndarray, distance: float) -> np.ndarray:
    """A polygon [N, 2] with every edge moved inwards by `distance`."""
    edge = np.roll(corners, -1, 0) - corners
    edge /= np.hypot(*edge.T)[:, None]
    inward = np.stack([-edge[:, 1], edge[:, 0]], 1)  # corners run clockwise on the screen
    before, after = np.roll(inward, 1, 0), inward
    # The corner shared by two moved edges: along the bisector, farther the sharper the corner.
    return corners + distance * (before + after) / (1 + (before * after).sum(1))[:, None]
