"""SqueezeNet's published weights, against its forward written out in numpy."""

from pathlib import Path

import jax
import numpy as np
import pytest

from vismem import pretrained
from vismem.pretrained import squeezenet

WEIGHTS = Path(__file__).parents[3] / "shared/data/squeezenet/decoded_squeezenet10_OIHW.npz"


def convolve(x, weights, name, stride=1, padding=0):
    """[C, H, W] -> [O, H', W']."""
    kernel, bias = weights[f"{name}/w"], weights[f"{name}/b"]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    y = np.einsum("ihwkl,oikl->ohw", windows, kernel, optimize=True) + bias[:, None, None]
    return np.maximum(y, 0)


def pool(x):
    """Maxima of 3x3 windows at every second pixel, the last, partial ones included."""
    height, width = ((n - 2) // 2 + 1 for n in x.shape[1:])
    return np.stack(
        [
            [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(width)]
            for i in range(height)
        ]
    ).transpose(2, 0, 1)


def reference(picture, weights):
    """uint8 RGB [H, W, 3] -> features [512] and logits [1000], as the weights' NOTE.txt says."""
    x = picture[:, :, ::-1].astype(np.float64) - [104, 117, 123]
    x = pool(convolve(x.transpose(2, 0, 1), weights, "conv1", stride=2))
    for i in range(2, 10):
        x = convolve(x, weights, f"fire{i}/squeeze1x1")
        parts = [convolve(x, weights, f"fire{i}/expand1x1")]
        x = np.concatenate([*parts, convolve(x, weights, f"fire{i}/expand3x3", padding=1)])
        x = pool(x) if i in (4, 8) else x
    return x.mean((1, 2)), convolve(x, weights, "conv10", padding=1).mean((1, 2))


@pytest.mark.skipif(not WEIGHTS.exists(), reason="../shared/data/squeezenet is missing")
def test_published_weights(tmp_path):
    squeezenet.convert(WEIGHTS, tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (70, 85, 3), np.uint8)
    features, logits = reference(picture, np.load(WEIGHTS))
    module, params, _ = pretrained.load(tmp_path)
    image = picture[None].astype(np.float32) / 127.5 - 1

    @jax.jit
    def run(params):
        pooled = module.encoder.apply({"params": params["encoder"]}, image).pooled
        return pooled, module.apply({"params": params}, image)

    for ours, theirs in zip(run(params), (features, logits)):
        np.testing.assert_allclose(ours[0], theirs, atol=1e-5 * np.abs(theirs).max())
    encoder = pretrained.load(tmp_path, architecture="SqueezeNetModel")
    assert jax.tree.structure(encoder.params) == jax.tree.structure(params["encoder"])
    assert pretrained.processor(tmp_path)([picture]).shape == (1, 227, 227, 3)
