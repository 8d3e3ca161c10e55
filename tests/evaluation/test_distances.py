"""Distances of features against other libraries' numbers, and against what they must be."""

import numpy as np
import pytest

from vismem.evaluation.distances import Moments, frechet, kernel_distance, neighbourhoods

# Made once, in an environment of its own, from the features below (R and D):
#   pip install torch==2.13.0 torchmetrics==1.9.0 prdc==0.2 scikit-learn
#   metric = FrechetInceptionDistance(torch.nn.Identity()).set_dtype(torch.float64), with
#   num_features = 16 set on the identity; metric.update(R, real=True), metric.update(D, real=False)
#   KernelInceptionDistance likewise, with subsets=1, subset_size=200, of R[:200]
#   prdc.compute_prdc(R, D, nearest_k=5)
TORCHMETRICS = {"frechet": 0.7040510950542576, "kernel distance": 0.07063225856223898}
PRDC = {"precision": 0.995, "recall": 0.9566666666666667, "density": 1.082, "coverage": 0.91333333}


def features() -> tuple[np.ndarray, np.ndarray]:
    """R [300, 16] and D [200, 16], of eight dimensions: covariances are not of full rank."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(8, 16))
    real = np.tanh(rng.normal(size=(300, 8)) @ mix)
    return real, np.tanh(0.8 * rng.normal(size=(200, 8)) @ mix + 0.3)


def test_numbers_are_those_of_torchmetrics_and_prdc():
    real, drawn = features()
    distance = frechet(Moments.of(real), Moments.of(drawn))
    assert distance == pytest.approx(TORCHMETRICS["frechet"], rel=1e-4)
    kernel = kernel_distance(real[:200], drawn)
    assert kernel == pytest.approx(TORCHMETRICS["kernel distance"], rel=1e-4)
    assert neighbourhoods(real, drawn, nearest=5) == pytest.approx(PRDC, rel=1e-6)


def test_moments_of_shares_add_up_to_those_of_the_whole():
    real, _ = features()
    shares = sum((Moments.of(real[i::3]) for i in range(3)), Moments())
    np.testing.assert_allclose(shares.mean, real.mean(0))
    np.testing.assert_allclose(shares.covariance, np.cov(real.T), atol=1e-12)


def test_distances_vanish_between_equals_and_see_a_shift():
    real, _ = features()
    same = Moments.of(real)
    assert frechet(same, same) == pytest.approx(0, abs=1e-6)
    assert frechet(same, Moments.of(real + 0.5)) == pytest.approx(16 * 0.25, rel=1e-6)


def test_the_kernel_distance_is_unbiased():
    """Between halves of one set it is nothing on average, and below nothing half of the time."""
    real, _ = features()
    rng = np.random.default_rng(0)
    shuffled = (rng.permutation(real) for _ in range(100))
    found = [kernel_distance(x[:150], x[150:]) for x in shuffled]
    assert min(found) < 0 < max(found)
    assert abs(np.mean(found)) < 3 * np.std(found) / 10


def test_drawings_of_one_kind_are_precise_and_cover_little():
    """A collapse: all drawings beside one picture of many."""
    real, _ = features()
    rng = np.random.default_rng(1)
    collapsed = real[:1] + 1e-3 * rng.normal(size=(200, 16))
    found = neighbourhoods(real, collapsed)
    assert found["precision"] > 0.95
    assert found["recall"] < 0.05
    assert found["coverage"] < 0.1


def test_many_rows_are_taken_block_by_block(monkeypatch):
    whole = neighbourhoods(*features())
    monkeypatch.setattr("vismem.evaluation.distances.BLOCK", 64)
    assert neighbourhoods(*features()) == whole
