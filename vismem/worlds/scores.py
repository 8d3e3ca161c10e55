"""How well the scene read from a picture agrees with the true one, as GeNeVA's evaluation has it.

El-Nouby et al., "Tell, Draw, and Repeat", ICCV 2019: precision, recall and F1 of the objects, and
the similarity of their relations ("rsim"). Each is computed for one picture and averaged over
pictures. Whether a picture obeys its text is another question: `claim.holds(oracle.read(image))`.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from vismem.worlds.scene import Scene, Thing

ATTRIBUTES = ("shape", "color", "size", "fill")


class ObjectScores(NamedTuple):
    """Shares in [0, 1] for one picture; 0 where there is nothing to divide by."""

    precision: float
    recall: float
    f1: float


def matches(
    truth: Scene, read: Scene, attributes: tuple[str, ...] = ATTRIBUTES
) -> list[tuple[Thing, Thing]]:
    """Pairs (true thing, thing read) that agree in `attributes`, one to one, as near as can be.

    An attribute that the reader could not tell (None) agrees with nothing.
    """
    far = 1e3  # more than any sum of distances between places
    distance = np.full((len(truth.things), len(read.things)), far)
    for i, a in enumerate(truth.things):
        for j, b in enumerate(read.things):
            if all(getattr(a, name) == getattr(b, name) for name in attributes):
                distance[i, j] = np.hypot(a.x - b.x, a.y - b.y)
    pairs = zip(*linear_sum_assignment(distance))
    return [(truth.things[i], read.things[j]) for i, j in pairs if distance[i, j] < far]


def recovered(truth: Scene, read: Scene) -> bool:
    """Whether everything was read back: all attributes, places within 2 px of 32, nothing more."""
    pairs = matches(truth, read)
    return (
        read.background == truth.background
        and len(pairs) == len(truth.things) == len(read.things)
        and all(max(abs(a.x - b.x), abs(a.y - b.y)) <= 2 / 32 for a, b in pairs)
    )


def object_scores(
    truth: Scene, read: Scene, attributes: tuple[str, ...] = ATTRIBUTES
) -> ObjectScores:
    """Precision, recall and F1 of objects, which agree in `attributes` wherever they are."""
    found = len(matches(truth, read, attributes))
    precision = found / max(len(read.things), 1)
    recall = found / max(len(truth.things), 1)
    return ObjectScores(precision, recall, 2 * found / max(len(truth.things) + len(read.things), 1))


def relation_similarity(
    truth: Scene, read: Scene, attributes: tuple[str, ...] = ATTRIBUTES
) -> float:
    """Recall of the objects times the share of relations that agree among those found, in [0, 1].

    With p_i the places of the N objects found in both scenes, the relations are the tables
    sign(p_i - p_j) for left/right and above/below, with the picture's centre for p_j where i = j:
    2 N N entries, all of equal weight. 0 where no object is found.
    """
    pairs = matches(truth, read, attributes)
    if not pairs:
        return 0.0
    agree = _relations([a for a, _ in pairs]) == _relations([b for _, b in pairs])
    return len(pairs) / len(truth.things) * float(agree.mean())


def _relations(things: list[Thing]) -> np.ndarray:
    """int [N, N, 2], sign of the difference of places; the diagonal is against the centre."""
    places = np.array([(thing.x, thing.y) for thing in things])
    tables = np.sign(places[:, None] - places[None])
    tables[np.diag_indices(len(things))] = np.sign(places - 0.5)
    return tables
