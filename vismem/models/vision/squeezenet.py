"""SqueezeNet (Iandola et al. 2016)."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.features import Features
from vismem.models.layers import Array, check_sizes
from vismem.models.vision.conv import Conv, as_features, max_pool

SQUEEZE = (16, 16, 32, 32, 48, 48, 64, 64)
# Version -> kernel and channels of the first convolution, and the fire modules, from 0, that max
# pooling comes before.
VERSIONS = {"1.0": (7, 96, (0, 3, 7)), "1.1": (3, 64, (0, 2, 4))}


class Fire(nn.Module):
    """1x1 convolutions to few channels, then 1x1 and 3x3 ones side by side to eight times those."""

    squeeze: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(Conv(self.squeeze, 1, dtype=self.dtype, name="squeeze")(x))
        parts = [
            Conv(4 * self.squeeze, kernel, dtype=self.dtype, name=f"expand_{kernel}")(x)
            for kernel in (1, 3)
        ]
        return nn.relu(jnp.concatenate(parts, axis=-1))


class SqueezeNet(nn.Module):
    """Pictures [B, H, W, C] -> Features: the cells after the last fire module, and their mean.

    Attributes:
      version: "1.0" of the paper, or "1.1", as good at less than half the work.
      squeeze: channels that the fire modules squeeze to.
    """

    version: Literal["1.0", "1.1"] = "1.1"
    squeeze: tuple[int, ...] = SQUEEZE
    dtype: Any = jnp.float32

    def __call__(self, image: Array) -> Features:
        return as_features(self.feature_map(image))

    @nn.compact
    def feature_map(self, image: Array) -> Array:
        """The last fire module's map, [B, H', W', C']."""
        check_sizes(self, "vision", "squeeze")
        kernel, channels, pooled = VERSIONS[self.version]
        x = Conv(channels, kernel, stride=2, padding=0, dtype=self.dtype, name="stem")(image)
        x = nn.relu(x)
        for i, squeeze in enumerate(self.squeeze):
            if i in pooled:
                x = max_pool(x, 3, 2, ceil=True)
            x = Fire(squeeze, dtype=self.dtype, name=f"fire_{i}")(x)
        return x


class SqueezeNetClassifier(nn.Module):
    """A SqueezeNet with its last convolution: pictures -> logits [B, labels].

    Attributes:
      padding: of that 1x1 convolution in pixels: 1 in the authors' weights, 0 in torchvision's.
    """

    encoder: SqueezeNet
    labels: int
    padding: int = 0

    @nn.compact
    def __call__(self, image: Array) -> Array:
        x = self.encoder.feature_map(image)
        conv = Conv(self.labels, 1, padding=self.padding, dtype=self.encoder.dtype, name="head")
        return nn.relu(conv(x)).mean((1, 2))
