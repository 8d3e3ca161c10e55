"""A scene: objects with attributes and places on a background; what texts say and pictures show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vismem.errors import UserError

# Colours and backgrounds differ in brightness as well as in hue: compressed pictures keep only the
# brightness sharp.
COLORS = {
    "red": (225, 40, 40),
    "orange": (250, 120, 20),
    "yellow": (250, 212, 30),
    "green": (25, 140, 50),
    "cyan": (60, 205, 230),
    "blue": (40, 70, 220),
    "purple": (140, 50, 180),
    "pink": (255, 105, 195),
}
BACKGROUNDS = {
    "white": (250, 250, 250),
    "grey": (120, 120, 120),
    "black": (16, 16, 16),
    "navy": (25, 30, 90),
}
# Radius of each size as a share of the picture's width; `OUTLINES` are in units of it.
SIZES = {"small": 0.13, "large": 0.205}
FILLS = ("solid", "outline", "striped")


def _star(points: int, outer: float, inner: float) -> np.ndarray:
    angles = np.arange(2 * points) * math.pi / points
    radii = np.where(np.arange(2 * points) % 2, inner, outer)
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


def _cross(reach: float, arm: float) -> np.ndarray:
    r, a = reach, arm
    corners = [(-a, -r), (a, -r), (a, -a), (r, -a), (r, a), (a, a)]
    return np.array(corners + [(-x, -y) for x, y in corners])


# shape -> corners [N, 2], (x, y) with y down, about the centroid: a thing's place is its centre of
# mass. Areas are alike (2 to 3.3), so that size and shape are separate attributes.
OUTLINES = {
    "circle": _star(32, 1.0, 1.0),
    "square": 0.9 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
    "triangle": 1.3 * np.array([(0, -1), (math.sqrt(0.75), 0.5), (-math.sqrt(0.75), 0.5)]),
    "diamond": 1.2 * np.array([(0, -1), (1, 0), (0, 1), (-1, 0)]),
    "cross": _cross(1.1, 0.4),
    "star": _star(5, 1.3, 0.56),
}
SHAPES = tuple(OUTLINES)
# shape -> how far it reaches from its centre: (left, up, right, down) and the farthest corner.
REACH = {
    s: (*(-p.min(0)).tolist(), *p.max(0).tolist(), np.hypot(*p.T).max().item())
    for s, p in OUTLINES.items()
}
EDGE = 0.015  # things stay this far inside the picture


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
      shape: "circle", "square", "triangle", "diamond", "cross" or "star".
      color: a name in `COLORS`.
      size: "small" or "large".
      fill: "solid", "outline" or "striped".
      x: centre, as a share of the picture's width, 0 at the left edge.
      y: centre, as a share of the picture's height, 0 at the top edge.

    In a scene read from a picture an attribute is None where the reader cannot tell.
    """

    shape: str | None
    color: str | None
    size: str | None
    fill: str | None
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """Objects, in the order in which they were placed, on a plain background.

    Attributes:
      things: the objects.
      background: a name in `BACKGROUNDS`; None where a reader cannot tell.
    """

    things: tuple[Thing, ...]
    background: str | None


@dataclass(frozen=True)
class Preset:
    """What the scenes of a world are made of.

    Attributes:
      shapes, colors, sizes, fills, backgrounds: the names in use, each equally likely.
      most: the most things in a training scene; the `length` split has one more.
      gap: the least distance between two things, as a share of the picture's width.
      spread: how far the centre of a thing lies at most from the middle of its ninth of the
        picture, on either axis, as a share of the width; None for anywhere.
    """

    shapes: tuple[str, ...] = SHAPES
    colors: tuple[str, ...] = tuple(COLORS)
    sizes: tuple[str, ...] = tuple(SIZES)
    fills: tuple[str, ...] = FILLS
    backgrounds: tuple[str, ...] = tuple(BACKGROUNDS)
    most: int = 4
    gap: float = 0.05
    spread: float | None = None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All pairs of shape and colour."""
        return tuple((s, c) for s in self.shapes for c in self.colors)


PRESETS = {
    "default": Preset(),
    # For 32 px: what can be told apart there, at places that are plainly one of the nine.
    "tiny": Preset(
        shapes=("circle", "square", "triangle", "cross"),
        fills=("solid",),
        backgrounds=("white",),
        most=2,
        spread=0.05,
    ),
}


def sample_scene(
    rng: np.random.Generator,
    preset: Preset,
    count: int,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> Scene:
    """Draws a scene of `count` things that lie inside the picture, `preset.gap` apart.

    Args:
      rng: where the randomness comes from.
      preset: what things are made of.
      count: the number of things, 1 to 5. Crowded scenes are drawn again until all fit, which
        favours small things.
      pairs: the pairs of shape and colour to choose from; all of the preset's by default.
    """
    if not 1 <= count <= 5:
        raise UserError(f"a scene of {count} things: ask for 1 to 5")
    pairs = pairs or preset.pairs
    while True:
        draws = rng.random((count + 1, 3)).tolist()
        kinds = [
            (_choose(pairs, pair), _choose(preset.sizes, size), _choose(preset.fills, fill))
            for pair, size, fill in draws[1:]
        ]
        placed: dict[int, Thing] = {}
        # The larger first: the smaller find room between them.
        for i in sorted(range(count), key=lambda i: -SIZES[kinds[i][1]]):
            pair, size, fill = kinds[i]
            thing = _place(rng, (*pair, size, fill), list(placed.values()), preset)
            if thing is None:
                break
            placed[i] = thing
        else:
            things = tuple(placed[i] for i in range(count))
            return Scene(things, _choose(preset.backgrounds, draws[0][0]))


def lined_up(rng: np.random.Generator, scene: Scene, gap: float) -> Scene:
    """The scene with its things in a row or a column, `gap` apart; as it was if they are too wide.

    Centres are within 1/32 of the picture of a straight line.
    """
    column = rng.random() < 0.5
    ends = []  # how far each thing reaches back and forth along the line, and to its sides
    for thing in scene.things:
        left, up, right, down, _ = (SIZES[thing.size] * reach for reach in REACH[thing.shape])
        ends.append((up, down, left, right) if column else (left, right, up, down))
    before, after, *sides = np.array(ends).T
    space = 1 - 2 * EDGE - (before + after).sum() - gap * (len(ends) - 1)
    low, high = EDGE + sides[0].max(), 1 - EDGE - sides[1].max()
    if space < 0:
        return scene
    # Each thing follows the ones before it, and a share of the space that is left over.
    shares = np.sort(rng.random(len(ends))) * space
    along = EDGE + shares + np.cumsum(before + after + gap) - after - gap
    across = rng.uniform(low, high) + rng.uniform(-1, 1, len(ends)) / 32
    across = np.clip(across, low, high)
    places = zip(*((across, along) if column else (along, across)))
    things = (replace(t, x=float(x), y=float(y)) for t, (x, y) in zip(scene.things, places))
    return replace(scene, things=tuple(things))


def _choose(options: Sequence, share: float):
    return options[int(share * len(options))]


def _place(rng, kind, others, preset, tries=20) -> Thing | None:
    """A thing of a kind (shape, colour, size, fill) apart from the others; None if none fits."""
    shape, _, size, _ = kind
    left, up, right, down, _ = (SIZES[size] * reach for reach in REACH[shape])
    for u, v in rng.random((tries, 2)).tolist():
        x = _between(EDGE + left, 1 - EDGE - right, u, preset.spread)
        y = _between(EDGE + up, 1 - EDGE - down, v, preset.spread)
        thing = Thing(*kind, x, y)
        if all(apart(thing, other, preset.gap) for other in others):
            return thing
    return None


def _between(low: float, high: float, share: float, spread: float | None) -> float:
    """The place at a share of the way from `low` to `high`, or of the way through the parts that
    lie near the middles of thirds, brought inside."""
    if spread is None:
        return low + share * (high - low)
    third, inside = divmod(3 * share, 1)
    return min(max((third + 0.5) / 3 + (2 * inside - 1) * spread, low), high)


def apart(a: Thing, b: Thing, gap: float) -> bool:
    """Whether bounding boxes or bounding circles are at least `gap` apart."""
    ra, rb = SIZES[a.size], SIZES[b.size]
    (al, au, ar, ad, ac), (bl, bu, br, bd, bc) = REACH[a.shape], REACH[b.shape]
    return (
        math.hypot(a.x - b.x, a.y - b.y) >= ra * ac + rb * bc + gap
        or b.x - a.x >= ra * ar + rb * bl + gap
        or a.x - b.x >= rb * br + ra * al + gap
        or b.y - a.y >= ra * ad + rb * bu + gap
        or a.y - b.y >= rb * bd + ra * au + gap
    )
