"""The autoencoder's objective and its evaluator."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.data import DataConfig
from vismem.errors import UserError
from vismem.evaluation.reconstruction import Reconstruction
from vismem.objectives.autoencode import PLAYER, Autoencode, make_codec
from vismem.objectives.base import scaled

WORLD = DataConfig(source={"name": "world", "preset": "tiny"}, size=32)

KL = {"name": "autoencoder_kl", "widths": (4, 4, 4), "blocks": 1, "channels": 2, "groups": 2}
KL |= {"scaling_factor": 4.0, "shift_factor": 0.5}


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


def test_the_encoder_learns_through_the_rounding():
    objective = make()
    batch = {"image": jax.random.randint(jax.random.key(0), (2, 32, 32, 3), 0, 256, jnp.uint8)}
    params = nn.unbox(objective.init(jax.random.key(1), batch))
    slope = jax.grad(lambda p: objective.loss(PLAYER, p, batch, jax.random.key(2))[0])(params)
    for part in ("encoder", "decoder"):
        for path, x in jax.tree_util.tree_leaves_with_path(slope[PLAYER][part]):
            assert jnp.abs(x).max() > 0, (part, path)


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


def test_latents_are_shifted_and_scaled_on_the_way_and_back():
    image = jax.random.randint(jax.random.key(0), (2, 32, 32, 3), 0, 256).astype(jnp.uint8)
    codec = make_codec(32, KL)
    assert (codec.size, codec.channels) == (8, 2)
    params = nn.unbox(jax.jit(codec.init)(jax.random.key(1), {}))
    latents = codec.encode(params, image)
    assert latents.shape == (2, 8, 8, 2)
    plain = make_codec(32, KL | {"scaling_factor": 1.0, "shift_factor": 0.0})
    means = plain.encode(params, image)
    np.testing.assert_allclose(latents, 4 * (means - 0.5), atol=1e-4)
    back = codec.decode(params, latents)
    assert back.shape == scaled(image).shape
    np.testing.assert_allclose(back, plain.decode(params, means), atol=1e-4)


def test_mistakes_are_named():
    with pytest.raises(
        UserError, match=r"data\.size=32: a cell .* 5 x 5 pixels, does not divide it"
    ):
        make(patch=5)
    with pytest.raises(UserError, match=r"data\.size=30: a cell .* 4 x 4 pixels"):
        make_codec(30, KL)
    with pytest.raises(UserError, match=r"objective\.autoencoder\.width: .* 'widths'"):
        make_codec(32, KL | {"width": 4})
    with pytest.raises(UserError, match="of the objective 'autoencode' only"):
        Reconstruction(objective=object(), data=WORLD)
