"""Distances between two sets of pictures, given as features of an encoder: float [N, E].

The Frechet distance needs no more than sums over features (`Moments`), the others the features
themselves. Which encoder makes a Frechet distance FID, evaluation/encoder.py says.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray
BLOCK = 1024  # rows of a table of distances at a time


@dataclass
class Moments:
    """Sums from which mean and covariance follow, so that features need not be kept; those of two
    hosts' shares add up to those of the whole.

    Attributes:
      count: of features. total: their sum, float64 [E]. outer: of their outer products, [E, E].
    """

    count: int = 0
    total: Array = field(default_factory=lambda: np.zeros(()))
    outer: Array = field(default_factory=lambda: np.zeros(()))

    @classmethod
    def of(cls, features: Array) -> "Moments":
        x = features.astype(np.float64)
        return cls(len(x), x.sum(0), x.T @ x)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> Array:
        return self.total / self.count

    @property
    def covariance(self) -> Array:
        """With N - 1 for N."""
        centred = self.outer - self.count * np.outer(self.mean, self.mean)
        return centred / (self.count - 1)


def frechet(a: Moments, b: Moments) -> float:
    """The squared Frechet distance of two Gaussians (Heusel et al. 2017):

    |mean_a - mean_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^(1/2))
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # S_a S_b has the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which are real and not negative.
    crossed = np.linalg.eigvalsh(root @ b.covariance @ root)
    between = np.square(a.mean - b.mean).sum()
    spread = np.trace(a.covariance) + np.trace(b.covariance)
    return float(between + spread - 2 * np.sqrt(np.maximum(crossed, 0)).sum())


def kernel_distance(x: Array, y: Array) -> float:
    """The kernel distance (KID; Binkowski et al. 2018): the unbiased squared maximum mean
    discrepancy under the kernel (x . y / E + 1)^3, over all pairs."""
    x, y = x.astype(np.float64), y.astype(np.float64)

    def kernel(a: Array, b: Array) -> Array:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a: Array) -> float:
        pairs = kernel(a, a)
        return (pairs.sum() - np.trace(pairs)) / (len(a) * (len(a) - 1))

    return float(among(x) + among(y) - 2 * kernel(x, y).mean())


def neighbourhoods(real: Array, drawn: Array, nearest: int = 5) -> dict[str, float]:
    """Whether drawings lie where pictures do, and everywhere that pictures do.

    The ball around a feature reaches to its `nearest`-th neighbour of its own set. `precision` is
    the share of drawings in some picture's ball, `recall` that of pictures in some drawing's ball
    (Kynkaanniemi et al. 2019); `density` counts the pictures' balls that a drawing is in, over
    `nearest`, and `coverage` is the share of pictures with a drawing in their ball (Naeem et al.
    2020).

    Args:
      real: [N, E]. drawn: [M, E]; N and M above `nearest`.
    """
    real_reach, drawn_reach = reach(real, nearest), reach(drawn, nearest)
    inside = np.zeros(len(drawn))  # pictures' balls that each drawing is in
    recalled, covered = [], []
    for rows, distances in tables(real, drawn):
        within = distances < real_reach[rows, None]
        inside += within.sum(0)
        covered.append(within.any(1))
        recalled.append((distances < drawn_reach).any(1))
    return {
        "precision": float((inside > 0).mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(inside.mean() / nearest),
        "coverage": float(np.concatenate(covered).mean()),
    }


def reach(x: Array, nearest: int) -> Array:
    """Distance of each feature to its `nearest`-th neighbour, itself not counted: [N]."""
    return np.concatenate([np.partition(d, nearest, axis=1)[:, nearest] for _, d in tables(x, x)])


def tables(x: Array, y: Array) -> Iterable[tuple[slice, Array]]:
    """Distances [n, M] of some rows of `x` after the others to all of `y`, and which rows."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        squared = np.square(x[rows]).sum(1)[:, None] - 2 * x[rows] @ y.T + np.square(y).sum(1)
        yield rows, np.sqrt(np.maximum(squared, 0))
