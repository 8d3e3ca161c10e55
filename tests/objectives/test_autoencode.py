"""The autoencoder's objective and its evaluator."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.data import DataConfig
from vismem.errors import UserError
from vismem.evaluation.reconstruction import Reconstruction
from vismem.objectives.autoencode import PLAYER, Autoencode

WORLD = DataConfig(source={"name": "world", "preset": "tiny"}, size=32)


def make(**options) -> Autoencode:
    return Autoencode(image_size=32, **{"levels": (3, 3), "widths": (8,), "blocks": 0, **options})


def test_psnr_is_that_of_the_loss():
    objective = make()
    batch = {"image": jnp.full((2, 32, 32, 3), 200, jnp.uint8)}
    params = nn.unbox(objective.init(jax.random.key(0), batch))
    _, metrics = objective.loss(PLAYER, params, batch, jax.random.key(1))
    restored = objective.decode(params, objective.encode(params, batch["image"]))
    error = np.square(np.asarray(restored) - (200 / 127.5 - 1)).mean() / 4  # of pixels in [0, 1]
    np.testing.assert_allclose(metrics["psnr"], -10 * np.log10(error), rtol=1e-5)


def test_what_comes_back_whole_is_counted():
    """Pictures that come back as they were, and pictures that come back white."""

    class Known(Autoencode):
        def encode(self, params, image):
            tokens = jnp.tile(jnp.arange(8), (len(image), 1, 1))
            self.whole = jnp.where(params["whole"], image / 127.5 - 1, 1.0)
            return self.autoencoder.fsq.codes(tokens)

        def decode(self, params, codes):
            return self.whole

    evaluator = Reconstruction(
        objective=Known(image_size=32, levels=(3, 3)), data=WORLD, count=12, batch_size=8
    )
    whole = evaluator.run({"ema": {"whole": True}})
    assert whole["test/exact_scene"] == 1
    assert whole["test/psnr"] > 60
    assert whole["test/codes"] == pytest.approx(8 / 9)
    assert whole["test/perplexity"] == pytest.approx(8)
    white = evaluator.run({"ema": {"whole": False}})
    assert white["test/exact_scene"] == 0
    assert white["test/psnr"] < 30


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"does not divide data\.size=32"):
        make(patch=5)
    with pytest.raises(UserError, match="of the objective 'autoencode' only"):
        Reconstruction(objective=object(), data=WORLD)
