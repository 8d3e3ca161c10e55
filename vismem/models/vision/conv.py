"""The convolutions of the classic picture encoders, with their norms.

Shapes: pictures and feature maps are [B, H, W, C].
"""

import functools
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array
from vismem.parallel import rules

Norm = Literal["group", "batch"]


class Conv(nn.Module):
    """A convolution with zero padding of `padding` pixels (None: half the kernel) on each side.

    Attributes:
      kernel: pixels a side, or down and across.
    """

    features: int
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    padding: int | None = None
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        axes = (None, None, "embed", "mlp")
        init = nn.with_logical_partitioning(nn.initializers.he_normal(), axes)
        sides = (self.kernel,) * 2 if isinstance(self.kernel, int) else self.kernel
        shape = (*sides, x.shape[-1], self.features)
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        pads = [side // 2 if self.padding is None else self.padding for side in sides]
        y = lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel,
            (self.stride, self.stride),
            [(pad, pad) for pad in pads],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        if self.use_bias:
            init = nn.with_logical_partitioning(nn.initializers.zeros, ("mlp",))
            y = y + self.param("bias", init, (self.features,)).astype(self.dtype)
        return rules.constrain(y, "mlp")


class ChannelNorm(nn.Module):
    """The norm after a convolution, with scale and bias a channel, in float32.

    "group" is group normalisation (Wu & He 2018) over so many groups, by default over groups of 16
    channels, or of as many as divide them; it needs no statistics of the batch, so that the train
    step stays a function of parameters and batch. "batch" is batch normalisation as it runs after
    training, with the mean and variance that came with imported weights: they are not trained.
    """

    norm: Norm = "group"
    epsilon: float = 1e-5
    groups: int | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        def channel(name: str, value: float) -> Array:
            init = nn.with_logical_partitioning(nn.initializers.constant(value), ("norm",))
            return self.param(name, init, x.shape[-1:])

        y = x.astype(jnp.float32)
        if self.norm == "batch":
            mean, variance = map(
                lax.stop_gradient, (channel("mean", 0.0), channel("variance", 1.0))
            )
            y = (y - mean) * lax.rsqrt(variance + self.epsilon)
        else:
            y = group_normalize(y, self.epsilon, self.groups)
        return (y * channel("scale", 1.0) + channel("bias", 0.0)).astype(x.dtype)


def group_normalize(x: Array, epsilon: float = 1e-5, groups: int | None = None) -> Array:
    """Zero mean and unit variance over the pixels of each group of channels: [B, H, W, C]."""
    if groups is None:
        groups = next(g for g in range(max(1, x.shape[-1] // 16), 0, -1) if x.shape[-1] % g == 0)
    y = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    y = y - y.mean((1, 3), keepdims=True)
    y = y * lax.rsqrt(jnp.square(y).mean((1, 3), keepdims=True) + epsilon)
    return y.reshape(x.shape)


def max_pool(x: Array, window: int, stride: int, padding: int = 0, ceil: bool = False) -> Array:
    """The largest value of each window; `ceil` keeps the last, partial windows too."""
    # Along one axis and then the other, by slices: the gradient of XLA's own windows takes the CPU
    # three times as long.
    for axis in (1, 2):
        size = x.shape[axis] + 2 * padding
        over = -(size - window) % stride if ceil else 0
        if size + over < window:
            raise UserError(
                "pictures are too small for this encoder: it has no pixels left to pool; enlarge "
                "them (data.size, or vision.size of name=pretrained) or take fewer stages"
            )
        pads = [(0, 0)] * x.ndim
        pads[axis] = (padding, padding + over)
        padded = jnp.pad(x, pads, constant_values=-jnp.inf)
        last = (size + over - window) // stride * stride
        slices = (lax.slice_in_dim(padded, i, i + last + 1, stride, axis) for i in range(window))
        x = functools.reduce(jnp.maximum, slices)
    return x


def as_features(x: Array) -> Features:
    """A feature map: its cells, and their mean."""
    tokens = x.reshape(len(x), -1, x.shape[-1])
    return Features(tokens, tokens.mean(1), tokens[:, :0])
