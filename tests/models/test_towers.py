"""The text tower, and two towers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.text.clip import TextTower
from vismem.models.towers import Projected, TwoTowers
from vismem.models.vision.cnn import CNN

SIZES = dict(vocab_size=9, width=12, layers=2, heads=3, hidden=20, length=6)


def initialised(module, *args):
    return nn.unbox(jax.jit(module.init)(jax.random.key(0), *args))


def test_a_causal_tower_sees_nothing_after_a_token():
    module, tokens = TextTower(**SIZES, causal=True, end=8), jnp.array([[3, 8, 5, 1, 8]])
    params = initialised(module, tokens)
    run = jax.jit(module.apply)
    one, two = run(params, tokens), run(params, tokens.at[0, 2].set(7))
    np.testing.assert_allclose(one.tokens[:, :2], two.tokens[:, :2], atol=1e-6)
    np.testing.assert_allclose(one.pooled, one.tokens[:, 1], atol=1e-6)  # the first end
    assert float(jnp.abs(one.tokens[:, 2:] - two.tokens[:, 2:]).max()) > 1e-3


def test_padding_never_changes_a_text():
    module, tokens = TextTower(**SIZES), jnp.array([[3, 8, 5, 0, 0]])
    mask = jnp.array([[1, 1, 1, 0, 0]], bool)
    params = initialised(module, tokens)
    run = jax.jit(module.apply)
    one, two = run(params, tokens, mask), run(params, tokens.at[0, 3:].set(7), mask)
    np.testing.assert_allclose(one.tokens[:, :3], two.tokens[:, :3], atol=1e-6)


def test_where_a_text_ends():
    tokens = jnp.array([[3, 8, 5, 8, 1], [2, 1, 7, 1, 1]])
    for end, places in ((8, [1, 0]), (None, [1, 2]), (-1, [4, 4])):
        np.testing.assert_array_equal(TextTower(**SIZES, end=end).last(tokens), places)


def test_a_text_that_is_too_long_is_named():
    with pytest.raises(UserError, match="texts of 7 tokens: the text tower takes 6 at most"):
        jax.eval_shape(TextTower(**SIZES).init, jax.random.key(0), jnp.ones((1, 7), jnp.int32))


def test_logits_are_scaled_cosines():
    towers = TwoTowers(Projected(CNN((4,)), 5), Projected(TextTower(**SIZES), 5), 0.7, bias=-3.0)
    image, tokens = jax.random.normal(jax.random.key(1), (2, 8, 8, 3)), jnp.ones((3, 4), jnp.int32)
    params = initialised(towers, image, tokens)
    images, texts, logits = jax.jit(towers.apply)(params, image, tokens)
    np.testing.assert_allclose(jnp.linalg.norm(images.pooled, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(texts.pooled, axis=-1), 1, rtol=1e-5)
    cosines = images.pooled @ texts.pooled.T
    np.testing.assert_allclose(logits, np.exp(0.7) * cosines - 3, rtol=1e-5)
