import warnings

import numpy as np
import pytest

from vismem.evaluation.agreement import agreement, rank_correlation


@pytest.fixture(autouse=True)
def _undefined_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_area_is_the_chance_that_a_right_drawing_scores_above_a_wrong_one():
    rng = np.random.default_rng(0)
    right = rng.random(40) < 0.6
    scores = np.round(rng.normal(right, 1.0), 1)  # with ties, which count half
    pairs = scores[right][:, None] - scores[~right]
    found = agreement(scores, right, threshold=0.5)
    assert found["auc"] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert found["passed"] == (scores >= 0.5).mean()


def test_shares_come_with_wilsons_interval():
    found = agreement(np.zeros(10), np.arange(10) < 8, threshold=1.0)
    z, p, n = 1.959964, 0.8, 10
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found["exact_claim"] == pytest.approx(p)
    assert (found["low"], found["high"]) == pytest.approx((middle - half, middle + half), abs=1e-6)


@pytest.mark.parametrize("value", [True, False])
def test_there_is_no_area_where_all_are_equally_right(value):
    assert agreement(np.arange(4.0), np.full(4, value), threshold=0.0)["auc"] is None


def test_only_ranks_count():
    a = np.array([0.1, 0.5, 0.3, 0.9])
    assert rank_correlation(a, np.exp(9 * a)) == pytest.approx(1)
    assert rank_correlation(a, -(a**3)) == pytest.approx(-1)
    assert rank_correlation(a, np.array([1, 2, 3, 4])) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)


def test_nothing_ranks_with_what_is_constant():
    assert rank_correlation(np.arange(3.0), np.ones(3)) is None
    assert rank_correlation(np.zeros(3, bool), np.arange(3.0)) is None
