"""VGG networks (Simonyan & Zisserman 2015)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array, Dense, check_sizes
from vismem.models.vision.conv import ChannelNorm, Conv, as_features, max_pool
from vismem.registry import nearest

# Name -> channels of the 3x3 convolutions of each stage.
VARIANTS = {
    "11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


def variant(name: str) -> dict[str, Any]:
    """The sizes of a VGG by its usual number, e.g. "16": arguments of `VGG`."""
    if name not in VARIANTS:
        raise UserError(f"variant={name!r}: unknown VGG; {nearest(name, VARIANTS)}")
    return dict(stages=VARIANTS[name])


class VGG(nn.Module):
    """Pictures [B, H, W, C] -> Features: the cells of the last map, and their mean.

    Attributes:
      stages: channels of the 3x3 convolutions of each stage; each stage ends by halving the map.
      norm: group normalisation after each convolution, for training from scratch; the published
        weights have none.
    """

    stages: tuple[tuple[int, ...], ...]
    norm: bool = True
    dtype: Any = jnp.float32

    def __call__(self, image: Array) -> Features:
        return as_features(self.feature_map(image))

    @nn.compact
    def feature_map(self, image: Array) -> Array:
        """The last stage's map, [B, H', W', C']."""
        check_sizes(self, "vision", "stages")
        x = image
        for i, stage in enumerate(self.stages):
            for j, features in enumerate(stage):
                x = Conv(features, dtype=self.dtype, name=f"stage_{i}_conv_{j}")(x)
                if self.norm:
                    x = ChannelNorm(name=f"stage_{i}_norm_{j}")(x)
                x = nn.relu(x)
            x = max_pool(x, 2, 2)
        return x


class VGGClassifier(nn.Module):
    """A VGG with its three dense layers, as it was published: pictures -> logits [B, labels]."""

    encoder: VGG
    hidden: int
    labels: int
    cells: int = 7

    @nn.compact
    def __call__(self, image: Array) -> Array:
        x = mean_pool_to(self.encoder.feature_map(image), self.cells)
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # the order of the published weights
        for i, width in enumerate((self.hidden, self.hidden, self.labels)):
            x = nn.relu(x) if i else x
            x = Dense(width, dtype=self.encoder.dtype, name=f"dense_{i}")(x)
        return x


def mean_pool_to(x: Array, cells: int) -> Array:
    """Means over `cells` x `cells` windows, overlapping if they must: [B, H, W, C] -> [B, cells,
    cells, C].

    Window i of n covers rows floor(i H / n) to ceil((i + 1) H / n), as in torch's
    AdaptiveAvgPool2d.
    """

    def weights(size: int) -> Array:
        i = jnp.arange(cells)
        start, stop = i * size // cells, -(-(i + 1) * size // cells)
        at = jnp.arange(size)
        inside = (at >= start[:, None]) & (at < stop[:, None])
        return inside / inside.sum(-1, keepdims=True)

    return jnp.einsum("ih,bhwc,jw->bijc", weights(x.shape[1]), x, weights(x.shape[2]))
