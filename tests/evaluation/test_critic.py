"""The critic as a function of pixels: the same score, and a slope that raises it."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.evaluation.critic import Critic
from vismem.objectives.base import scaled
from vismem.objectives.contrastive import Contrastive


@pytest.fixture(scope="module")
def critic():
    vision, text = {"name": "cnn", "widths": (4, 6)}, {"name": "ngrams", "width": 8}
    sizes = {"vocab_size": 11, "image_size": 8, "width": 5}
    towers = Contrastive(text=text, vision=vision, **sizes)
    tokens = np.ones((1, 4), np.int32)
    params = nn.unbox(jax.jit(towers.init)(jax.random.key(0), {"tokens": tokens}))
    words = SimpleNamespace(encode=lambda text: np.array([len(text), 2, 3, 0], np.int32))
    return Critic(towers, words, params)


def pictures_of(side):
    """Smooth ones, which scaling hardly changes."""
    corners = np.random.default_rng(0).uniform(0, 255, (3, 2, 2, 3))
    return np.asarray(jax.image.resize(corners, (3, side, side, 3), "linear")).astype(np.uint8)


@pytest.mark.parametrize(("side", "tolerance"), [(8, 1e-5), (16, 0.02)])
def test_cosines_are_the_scores(critic, side, tolerance):
    texts, pictures = ["a", "bb", "ccc"], pictures_of(side)
    found = critic.cosines(critic.params, critic.texts(texts), scaled(jnp.asarray(pictures)))
    np.testing.assert_allclose(found, critic.score(pictures, texts), atol=tolerance)


def test_their_slope_raises_them(critic):
    wanted, pictures = critic.texts(["a", "bb", "ccc"]), scaled(jnp.asarray(pictures_of(8)))

    def total(pictures):
        return critic.cosines(critic.params, wanted, pictures).sum()

    slope = jax.grad(total)(pictures)
    step = 1e-2 * slope / jnp.linalg.norm(slope)
    rise = (total(pictures + step) - total(pictures - step)) / 2e-2
    np.testing.assert_allclose(rise, jnp.linalg.norm(slope), rtol=0.02)
