import flax.linen as nn
import jax
import numpy as np
from einops import rearrange

from vismem.models.critic import Halving


def test_halving_is_a_convolution_of_four_by_four_at_every_second_pixel():
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    layer = Halving(5)
    params = nn.unbox(layer.init(jax.random.key(1), x))
    dense = params["params"]["windows"]
    corners = "(i j p q c) o -> (i p) (j q) c o"  # a window is four corners of 2 x 2 pixels
    kernel = rearrange(dense["kernel"], corners, i=2, j=2, p=2, q=2)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(layer.apply(params, x), expected + dense["bias"], atol=1e-5)
    assert expected.shape == (2, 4, 6, 5)
