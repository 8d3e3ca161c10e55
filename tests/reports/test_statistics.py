import math

import numpy as np
import pytest
from scipy import stats

from vismem.reports.statistics import interval, paired_bootstrap, pairs_needed


def test_the_interval_is_student_s():
    values = [0.5, 0.7, 0.9, 0.6]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx((high - low) / 2)
    assert math.isnan(interval([0.5]))


def test_pairs_show_what_means_alone_do_not():
    rng = np.random.default_rng(1)
    seeds = rng.normal(0, 10, 12)  # seeds differ by far more than the rows do
    rows = seeds, seeds + rng.normal(1, 0.5, 12)
    assert paired_bootstrap(*rows) < 0.01
    assert stats.ttest_ind(*rows).pvalue > 0.5


def test_few_pairs_show_little():
    for count, least in ((1, 1.0), (2, 0.5), (3, 0.25), (6, 2**-5)):
        assert paired_bootstrap([0.0] * count, np.arange(1.0, count + 1)) == least
    for p in (0.05, 0.01):
        needed = pairs_needed(p)
        assert paired_bootstrap(np.zeros(needed), np.ones(needed)) < p
        assert paired_bootstrap(np.zeros(needed - 1), np.ones(needed - 1)) >= p


def test_false_alarms_are_as_rare_as_they_should_be():
    rng = np.random.default_rng(0)
    found = [paired_bootstrap(*rng.normal(size=(2, 10)), draws=1_000) < 0.05 for _ in range(400)]
    assert np.mean(found) < 0.11  # a bootstrap of ten pairs is a little too eager


def test_the_order_of_rows_does_not_matter():
    a, b = np.random.default_rng(2).normal(size=(2, 8))
    assert paired_bootstrap(a, b) == paired_bootstrap(b, a)
    assert paired_bootstrap(a, a) == 1
