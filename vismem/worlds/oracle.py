"""Reads a picture back into a scene, without learning: what a drawing shows is computed.

A picture is split into its colours and connected pieces, and each piece is compared with every
shape, size and fill drawn by the renderer at that place (analysis by synthesis). Drawings of a
network are imperfect; where two readings are about as likely, the attribute is None, "cannot tell".
"""

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from vismem.worlds.render import PHASES, coverage
from vismem.worlds.scene import BACKGROUNDS, COLORS, FILLS, SHAPES, SIZES, Scene, Thing

_PALETTE = np.array(list(COLORS.values()), np.float32)
_COLOR_NAMES = tuple(COLORS)
_CONNECTED = np.ones((3, 3), bool)
# Rows Y, Cb and Cr. Compressed pictures keep brightness sharp but blur and fade the rest: so
# outlines are judged by brightness mostly, and colours by hue, averaged over some pixels.
_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)
_SHARP = _YCBCR * np.array([[1.0], [0.4], [0.4]], np.float32)
_HUE = _YCBCR * np.array([[0.35], [1.0], [1.0]], np.float32)
_LARGEST = 96  # px; a larger picture is averaged down to 64, where nothing is lost
_PRESENT = 0.35  # least share of its colour in a pixel of a thing
_FAINT = 14  # less than this (of 255) off the background is noise
_SPECK = 0.004  # of the picture's area: less ink than this is no thing (the smallest has 0.017)
_MISFIT = 0.30  # share of the energy of a drawn shape by which a piece may differ from it
_DOUBT = 1.1  # a reading is sure if the next best one has this many times its error
# A drawn thing may be too small, too large or have soft edges: (scale, sigma in pixels).
_VARIANTS = ((1.0, 0.0), (0.88, 0.0), (1.13, 0.0), (1.0, 0.9))


def read(image: np.ndarray) -> Scene:
    """The scene that a picture shows.

    Args:
      image: uint8 or float [H, W, 3] in [0, 255], RGB. Objects are read best from 32 px; larger
        pictures than 96 px, or not square ones, are first resized to 64.

    Returns:
      The things from top to bottom, each attribute None where it cannot be told; specks are left
      out, any larger blob is a thing. The background is None if it is none of `BACKGROUNDS`.
    """
    pixels = _working_size(image)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    background = np.median(rim, axis=0)
    canvas = _Canvas.of(pixels - background, _PALETTE - background)
    pieces = _pieces(canvas)
    # The faint rim of a piece belongs to it, but no pixel of another piece does.
    taken = np.zeros(canvas.best.shape, bool)
    for mask, _ in pieces:
        taken |= mask
    found = []
    for mask, color in pieces:
        own = mask | (ndimage.binary_dilation(mask, _CONNECTED) & ~taken)
        found.append((mask, _thing_in(canvas, own, color)))
    things = [thing for _, thing in _mended(canvas, found, taken) if thing is not None]
    things.sort(key=lambda thing: thing.y)
    return Scene(tuple(things), _background_name(background))


def _thing_in(canvas: "_Canvas", own: np.ndarray, color: int) -> Thing | None:
    """The thing of one colour in the pixels `own` [H, W]; None if there is but a speck."""
    amount = np.where(own, canvas.share(color), 0)
    if amount.sum() < canvas.speck:
        return None
    return _thing(amount, _COLOR_NAMES[color] if canvas.is_sure(own, color) else None)


def _mended(
    canvas: "_Canvas", found: list[tuple[np.ndarray, Thing | None]], taken: np.ndarray
) -> list[tuple[np.ndarray, Thing | None]]:
    """Pieces that show no shape, replaced by one thing where several of them together show one.

    Compression tears thin outlines: what is left of one lies close together, and what it lost is
    faint but in the same place. Pixels next to other pieces stay out of it.

    Args:
      found: masks [H, W] and what they show. taken: [H, W], where pieces are.
    """
    torn = np.zeros_like(taken)
    for mask, thing in found:
        if thing is not None and thing.shape is None:
            torn |= mask
    labels, count = ndimage.label(ndimage.binary_dilation(torn, _CONNECTED, 2), _CONNECTED)
    for number, box in enumerate(ndimage.find_objects(labels, count), 1):
        mask = torn & (labels == number)
        own = np.zeros_like(torn)
        own[box] = True
        own &= mask | ~ndimage.binary_dilation(taken & ~mask, _CONNECTED)
        whole = _thing_in(canvas, own, canvas.color(mask))
        if whole is not None and whole.shape is not None:
            found = [(m, t) for m, t in found if not (m & mask).any()] + [(mask, whole)]
    return found


def _working_size(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    if height != width or height > _LARGEST:
        picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
        image = np.asarray(picture.resize((64, 64), Image.Resampling.BOX))
    return image.astype(np.float32)


def _background_name(color: np.ndarray) -> str | None:
    distance, name = min(
        (float(np.linalg.norm(color - known)), name) for name, known in BACKGROUNDS.items()
    )
    return name if distance < 35 else None


class _Canvas(NamedTuple):
    """A picture as background plus a share of one of K colours in each pixel.

    Attributes:
      sharp: [H, W, 3], difference to the background, mostly in brightness.
      directions: [K, 3], the same of the colours.
      mean: [H, W, 3], mean difference to the background around each pixel, mostly in hue.
      units: [K, 3], the same of the colours, of length 1.
      energy: [H, W], the mean difference squared.
      residual: [H, W, K], the part of the energy that each colour leaves unexplained.
      best: [H, W], the colour that leaves the least.
    """

    sharp: np.ndarray
    directions: np.ndarray
    mean: np.ndarray
    units: np.ndarray
    energy: np.ndarray
    residual: np.ndarray
    best: np.ndarray

    @classmethod
    def of(cls, difference: np.ndarray, directions: np.ndarray) -> "_Canvas":
        # A mixture with the background has the direction of the pure colour, and so has the mean
        # over a neighbourhood, which noise and blurred colours disturb less.
        mean = ndimage.uniform_filter(difference @ _HUE.T, (3, 3, 0), mode="nearest")
        units = directions @ _HUE.T
        length = np.linalg.norm(units, axis=1)
        # A colour that is the background's own explains nothing.
        units /= np.where(length > 25, length, np.inf)[:, None]
        energy = (mean**2).sum(-1)
        residual = np.maximum(energy[..., None] - np.maximum(mean @ units.T, 0) ** 2, 0)
        best = residual.argmin(-1)
        sharp, directions = difference @ _SHARP.T, directions @ _SHARP.T
        return cls(sharp, directions, mean, units, energy, residual, best)

    @property
    def speck(self) -> float:
        """The least ink of a thing, in pixels."""
        return _SPECK * self.best.size

    def share(self, color: int | np.ndarray) -> np.ndarray:
        """[H, W] in [0, 1], how much of a colour (one, or one a pixel) is in each pixel."""
        direction = self.directions[color]
        square = np.maximum((direction**2).sum(-1), _FAINT**2)
        return np.clip((self.sharp * direction).sum(-1) / square, 0, 1)

    def is_sure(self, mask: np.ndarray, color: int) -> bool:
        """Whether a colour explains a piece well, whole and in parts, and no other does so."""
        errors = self._errors(self.mean[mask].sum(0))
        parts = self.residual[mask][:, color].sum() / self.energy[mask].sum()
        rest = np.delete(errors, color).min()
        return bool(parts < 0.35 and errors[color] < 0.12 and rest > 1.5 * errors[color])

    def color(self, mask: np.ndarray, box=...) -> int:
        """The colour of a piece on the whole."""
        return int(self._errors(self.mean[box][mask].sum(0)).argmin())

    def _errors(self, vector: np.ndarray) -> np.ndarray:
        """[K], the share of a difference [3] that each colour leaves unexplained."""
        explained = np.maximum(self.units @ vector, 0) ** 2
        return 1 - explained / max(float(vector @ vector), 1e-6)


def _pieces(canvas: _Canvas) -> list[tuple[np.ndarray, int]]:
    """The connected pieces of one colour, as (mask [H, W], colour index)."""
    share = canvas.share(canvas.best)
    drawn = (share > _PRESENT) & (canvas.energy > (_FAINT / 2) ** 2)
    drawn &= (canvas.sharp**2).sum(-1) > _FAINT**2
    labels, count = ndimage.label(drawn, _CONNECTED)
    pieces = []
    for number, box in enumerate(ndimage.find_objects(labels, count), 1):
        mask = labels[box] == number
        if share[box][mask].sum() < canvas.speck / 2:
            continue
        color, residual = canvas.color(mask, box), canvas.residual[box]
        parts = [(mask, color)]
        if residual[mask][:, color].sum() > 0.02 * canvas.energy[box][mask].sum():
            parts = _split(mask, canvas.best[box], residual, canvas.speck) or parts
        for part, shown in parts:
            whole = np.zeros(share.shape, bool)
            whole[box] = part
            pieces.append((whole, shown))
    return pieces


def _split(mask, best, residual, speck) -> list[tuple[np.ndarray, int]]:
    """Things of different colours that touch: parts of a piece; none if it has one colour only.

    Thin lines are left out of account: between two colours there is often a mixed third one.
    """
    colors = []
    for color in np.unique(best[mask]):
        solid = ndimage.binary_opening(mask & (best == color), np.ones((2, 2), bool))
        if solid.sum() >= speck:
            colors.append(color)
    if len(colors) < 2:
        return []
    nearest = np.array(colors)[residual[..., colors].argmin(-1)]
    parts = []
    for color in colors:
        labels, count = ndimage.label(mask & (nearest == color), _CONNECTED)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        parts += [(labels == i, int(color)) for i in range(1, count + 1) if sizes[i] >= speck]
    return parts


class _Bank(NamedTuple):
    """Templates: every shape, size and fill, drawn in each of the `_VARIANTS`.

    Attributes:
      masks: float32 [PHASES, PHASES, T, D * D], by y phase, x phase and template, centred in D x D.
      squares: float32 [PHASES, PHASES, T], their sums of squares.
      names: for each attribute the value of each template, as object [T].
      half: (D - 1) / 2.
    """

    masks: np.ndarray
    squares: np.ndarray
    names: dict[str, np.ndarray]
    half: int


@functools.lru_cache(maxsize=4)
def _bank(picture_size: int) -> _Bank:
    kinds = [(s, z, f, v) for s in SHAPES for z in SIZES for f in FILLS for v in _VARIANTS]

    def mask(kind, y: int, x: int) -> np.ndarray:
        shape, size, fill, (scale, sigma) = kind
        drawn = coverage(shape, SIZES[size] * scale * picture_size, fill, x, y)
        return ndimage.gaussian_filter(np.pad(drawn, 2), sigma) if sigma else drawn

    half = max(len(mask(kind, 0, 0)) for kind in kinds) // 2
    masks = np.zeros((PHASES, PHASES, len(kinds), 2 * half + 1, 2 * half + 1), np.float32)
    for y, x, t in np.ndindex(masks.shape[:3]):
        drawn = mask(kinds[t], y, x)
        margin = half - len(drawn) // 2
        inside = slice(margin, margin + len(drawn))
        masks[y, x, t, inside, inside] = drawn
    masks = masks.reshape(PHASES, PHASES, len(kinds), -1)
    names = {
        attribute: np.array([kind[i] for kind in kinds], object)
        for i, attribute in enumerate(("shape", "size", "fill"))
    }
    return _Bank(masks, (masks**2).sum(-1), names, half)


def _thing(amount: np.ndarray, color: str | None) -> Thing:
    """The thing whose drawing comes nearest to `amount` [S, S], the share of ink in each pixel."""
    size = len(amount)
    bank = _bank(size)
    half = bank.half
    columns, rows = amount.sum(0), amount.sum(1)
    places = np.arange(size) + 0.5
    total = columns.sum()
    # Shapes are centred on their centre of mass; it is known to a quarter of a pixel or so.
    x, y = (round(float(sums @ places / total * PHASES)) for sums in (columns, rows))
    padded = np.pad(amount, half + 1)
    energy = float((amount**2).sum())
    errors, tried = [], []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            column, x_phase = divmod(x + dx, PHASES)
            row, y_phase = divmod(y + dy, PHASES)
            window = padded[row + 1 : row + 2 * half + 2, column + 1 : column + 2 * half + 2]
            overlap = bank.masks[y_phase, x_phase] @ window.ravel()
            errors.append(energy - 2 * overlap + bank.squares[y_phase, x_phase])
            tried.append((x + dx, y + dy))
    errors = np.array(errors)
    position, template = np.unravel_index(errors.argmin(), errors.shape)
    x, y = (place / PHASES / size for place in tried[position])
    # Errors are compared as shares of what the drawn shape holds; the constant is what the grid of
    # sub-pixel places leaves over in a perfect drawing.
    errors = errors.min(0) / bank.squares[0, 0, template] + 0.002
    known = dict.fromkeys(bank.names)
    if errors[template] < _MISFIT:
        for attribute, values in bank.names.items():
            if errors[values != values[template]].min() > _DOUBT * errors[template]:
                known[attribute] = values[template]
    return Thing(color=color, x=x, y=y, **known)
