"""A plain convolutional network."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.features import Features
from vismem.models.layers import Array, check_sizes
from vismem.models.vision.conv import ChannelNorm, Conv, as_features


class CNN(nn.Module):
    """Pictures [B, H, W, C] -> Features: the cells of the last map, and their mean.

    Attributes:
      widths: channels of each 3x3 convolution; each but the first halves the map.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> Features:
        check_sizes(self, "vision", "widths")
        x = image
        for i, width in enumerate(self.widths):
            x = Conv(width, 3, 2 if i else 1, dtype=self.dtype, name=f"conv_{i}")(x)
            x = nn.relu(ChannelNorm(name=f"norm_{i}")(x))
        return as_features(x)
