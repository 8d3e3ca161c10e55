"""Residual networks (He et al. 2016)."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array, check_sizes
from vismem.models.transformer import activation
from vismem.models.vision.conv import ChannelNorm, Conv, Norm, as_features, max_pool
from vismem.registry import nearest

# Name -> kind of block, blocks a stage, channels a stage.
VARIANTS = {
    "18": ("basic", (2, 2, 2, 2), (64, 128, 256, 512)),
    "34": ("basic", (3, 4, 6, 3), (64, 128, 256, 512)),
    "50": ("bottleneck", (3, 4, 6, 3), (256, 512, 1024, 2048)),
    "101": ("bottleneck", (3, 4, 23, 3), (256, 512, 1024, 2048)),
    "152": ("bottleneck", (3, 8, 36, 3), (256, 512, 1024, 2048)),
}


def variant(name: str) -> dict[str, Any]:
    """The sizes of a ResNet by its usual number, e.g. "50": arguments of `ResNet`."""
    if name not in VARIANTS:
        raise UserError(f"variant={name!r}: unknown ResNet; {nearest(name, VARIANTS)}")
    return dict(zip(("block", "depths", "widths"), VARIANTS[name]))


class ConvNorm(nn.Module):
    """A convolution without bias and its norm."""

    features: int
    kernel: int
    stride: int = 1
    norm: Norm = "group"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = Conv(
            self.features, self.kernel, self.stride, use_bias=False, dtype=self.dtype, name="conv"
        )
        return ChannelNorm(self.norm, name="norm")(conv(x))


class ResidualBlock(nn.Module):
    """x + f(x), with a projection of x where f changes its shape.

    Attributes:
      block: "basic" is two 3x3 convolutions; "bottleneck" is 1x1 to a quarter of the channels, 3x3,
        and 1x1 back.
      stride: of the 3x3 (the first of two).
      early: a bottleneck's stride is on its first 1x1 instead, as in He et al.'s own weights.
      activation: after the sum; between the convolutions it is ReLU.
    """

    block: Literal["basic", "bottleneck"]
    features: int
    stride: int = 1
    early: bool = False
    activation: str = "relu"
    norm: Norm = "group"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        act = activation(self.activation)
        if self.block == "basic":
            layers = [(self.features, 3, self.stride), (self.features, 3, 1)]
        else:
            inner = self.features // 4
            first, second = (self.stride, 1) if self.early else (1, self.stride)
            layers = [(inner, 1, first), (inner, 3, second), (self.features, 1, 1)]
        given = dict(norm=self.norm, dtype=self.dtype)
        y = x
        for i, (features, kernel, stride) in enumerate(layers):
            y = nn.relu(y) if i else y
            y = ConvNorm(features, kernel, stride, name=f"conv_{i}", **given)(y)
        if x.shape[-1] != self.features or self.stride != 1:
            x = ConvNorm(self.features, 1, self.stride, name="shortcut", **given)(x)
        return act(x + y)


class ResNet(nn.Module):
    """Pictures [B, H, W, C] -> Features: the cells of the last stage's map, and their mean.

    Attributes:
      block: see ResidualBlock. depths, widths: blocks and channels of each stage.
      stem: channels of the first convolution.
      small: for pictures of 64 pixels and less: a 3x3 stem without pooling, stride 1 instead of 4
        before the first stage.
      first_stride: of the first stage; every later stage halves the map.
      norm: "group" for training from scratch, "batch" for imported weights (see ChannelNorm).
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: int = 64
    small: bool = False
    first_stride: int = 1
    early: bool = False
    activation: str = "relu"
    norm: Norm = "group"
    dtype: Any = jnp.float32

    def __call__(self, image: Array) -> Features:
        return as_features(self.feature_map(image))

    @nn.compact
    def feature_map(self, image: Array) -> Array:
        """The last stage's map, [B, H', W', C']."""
        check_sizes(self, "vision", "depths", "widths", "stem")
        if len(self.depths) != len(self.widths):
            raise UserError(
                f"vision.depths={list(self.depths)} and vision.widths={list(self.widths)}: must "
                "be equally long, with a number for each stage"
            )
        given = dict(norm=self.norm, dtype=self.dtype)
        kernel, stride = (3, 1) if self.small else (7, 2)
        x = ConvNorm(self.stem, kernel, stride, name="stem", **given)(image)
        x = activation(self.activation)(x)
        if not self.small:
            x = max_pool(x, 3, 2, padding=1)
        for i, (depth, width) in enumerate(zip(self.depths, self.widths)):
            for j in range(depth):
                stride = (2 if i else self.first_stride) if j == 0 else 1
                x = ResidualBlock(
                    self.block,
                    width,
                    stride,
                    self.early,
                    self.activation,
                    name=f"stage_{i}_block_{j}",
                    **given,
                )(x)
        return x
