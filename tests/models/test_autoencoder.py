"""Finite scalar quantisation, and the autoencoder around it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.autoencoder import FSQ, Autoencoder

LEVELS = (5, 3, 4, 2)


def test_every_token_is_a_code_of_its_own_and_comes_back():
    fsq = FSQ(LEVELS)
    tokens = jnp.arange(fsq.vocab_size)
    codes = fsq.codes(tokens)
    assert len(np.unique(np.asarray(codes), axis=0)) == fsq.vocab_size == 120
    assert codes.min() == -1
    assert codes.max() == 1
    np.testing.assert_array_equal(fsq.tokens(codes), tokens)


def test_quantised_numbers_are_codes_and_what_they_are_nearest_to():
    fsq = FSQ(LEVELS)
    x = 2 * jax.random.normal(jax.random.key(0), (500, len(LEVELS)))
    codes = fsq(x)
    np.testing.assert_allclose(fsq.codes(fsq.tokens(codes)), codes, atol=1e-6)
    half_steps = 1 / (np.array(LEVELS) - 1)
    assert (jnp.abs(codes - jnp.tanh(x)) <= half_steps + 1e-6).all()


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    """Through pictures to codes, and through what is drawn on their grid to pictures."""
    x = jnp.linspace(-2, 2, 4)[None]
    for quantise, smooth in ((FSQ(LEVELS), jnp.tanh), (FSQ(LEVELS).nearest, lambda x: x)):
        rounded, wanted = (jax.grad(lambda x, f=f: f(x).sum())(x) for f in (quantise, smooth))
        np.testing.assert_allclose(rounded, wanted, rtol=1e-6)


@pytest.mark.parametrize(("patch", "widths"), [(4, (8,)), (2, (8, 16))])
def test_a_code_stands_for_a_square_of_pixels(patch, widths):
    model = Autoencoder(LEVELS, patch, widths, blocks=0)
    picture = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3), minval=-1)
    params = jax.eval_shape(model.init, jax.random.key(1), picture)
    codes = jax.eval_shape(partial(model.apply, method="encode"), params, picture)
    assert model.cell == 4
    assert codes.shape == (2, 4, 4, 4)
    decoded = jax.eval_shape(partial(model.apply, method="decode"), params, codes)
    assert decoded.shape == picture.shape


def test_mistakes_in_the_levels_are_named():
    with pytest.raises(UserError, match=r"objective\.levels=\(4, 1\)"):
        FSQ((4, 1))
    with pytest.raises(UserError, match=r"give 68719476736 tokens"):
        FSQ((8,) * 12)
