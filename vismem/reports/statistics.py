"""How sure a table can be of its numbers, from a few seeds."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def interval(values: Sequence[float]) -> float:
    """Half the width of the 95% interval of the mean (Student's t); NaN for a single value."""
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def pairs_needed(p: float) -> int:
    """The fewest pairs with which `paired_bootstrap` can be below p."""
    return math.floor(1 - math.log2(p)) + 1


def paired_bootstrap(a: Sequence[float], b: Sequence[float], draws: int = 10_000) -> float:
    """Two-sided p-value of a difference in means between pairs.

    The differences are drawn again with replacement; p is twice the share of draws whose mean lies
    on the other side of zero. A bootstrap of few pairs claims too much, so p is never below
    2^(1-N), the least that the signs of N differences can show: 5% takes six pairs.

    Args:
      a, b: N values each, of which the i-th belong together (here: a seed).
      draws: how often the differences are drawn again, by a fixed seed.
    """
    differences = np.subtract(b, a)
    if not differences.any():
        return 1.0
    draw = np.random.default_rng(0).integers(len(differences), size=(draws, len(differences)))
    means = differences[draw].mean(axis=1)
    tail = min((means <= 0).mean(), (means >= 0).mean())
    return float(min(1.0, max(2 * tail, 2.0 ** (1 - len(differences)))))
