"""Inception v3 (Szegedy et al. 2016); its parts are called what the published weights call them."""

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array
from vismem.models.vision.conv import ChannelNorm, Conv, as_features, max_pool

Variant = Literal["torchvision", "fid"]


class Layer(NamedTuple):
    """A convolution of the published width, its norm and activation; see `Conv`."""

    name: str
    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: int | None = None


# Layers one after another; those of an inner tuple side by side.
Branch = tuple[Layer | tuple[Layer, ...], ...]
# Side by side. Before the last one is pooled; if nothing comes after that, it halves the map.
Block = tuple[Branch, ...]

ROW, COLUMN = (1, 7), (7, 1)
STEM = (
    Layer("Conv2d_1a_3x3", 32, 3, 2, padding=0),
    Layer("Conv2d_2a_3x3", 32, 3, padding=0),
    Layer("Conv2d_2b_3x3", 64, 3),
    Layer("Conv2d_3b_1x1", 80),
    Layer("Conv2d_4a_3x3", 192, 3, padding=0),
)
POOLED = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")  # layers of the stem with max pooling after them


def block_a(pooled: int) -> Block:
    return (
        (Layer("branch1x1", 64),),
        (Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, 5)),
        (
            Layer("branch3x3dbl_1", 64),
            Layer("branch3x3dbl_2", 96, 3),
            Layer("branch3x3dbl_3", 96, 3),
        ),
        (Layer("branch_pool", pooled),),
    )


def block_c(inner: int) -> Block:
    return (
        (Layer("branch1x1", 192),),
        (
            Layer("branch7x7_1", inner),
            Layer("branch7x7_2", inner, ROW),
            Layer("branch7x7_3", 192, COLUMN),
        ),
        (
            Layer("branch7x7dbl_1", inner),
            Layer("branch7x7dbl_2", inner, COLUMN),
            Layer("branch7x7dbl_3", inner, ROW),
            Layer("branch7x7dbl_4", inner, COLUMN),
            Layer("branch7x7dbl_5", 192, ROW),
        ),
        (Layer("branch_pool", 192),),
    )


BLOCK_B = (
    (Layer("branch3x3", 384, 3, 2, padding=0),),
    (
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, 3),
        Layer("branch3x3dbl_3", 96, 3, 2, padding=0),
    ),
    (),
)
BLOCK_D = (
    (Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, 3, 2, padding=0)),
    (
        Layer("branch7x7x3_1", 192),
        Layer("branch7x7x3_2", 192, ROW),
        Layer("branch7x7x3_3", 192, COLUMN),
        Layer("branch7x7x3_4", 192, 3, 2, padding=0),
    ),
    (),
)
BLOCK_E = (
    (Layer("branch1x1", 320),),
    (
        Layer("branch3x3_1", 384),
        (Layer("branch3x3_2a", 384, (1, 3)), Layer("branch3x3_2b", 384, (3, 1))),
    ),
    (
        Layer("branch3x3dbl_1", 448),
        Layer("branch3x3dbl_2", 384, 3),
        (Layer("branch3x3dbl_3a", 384, (1, 3)), Layer("branch3x3dbl_3b", 384, (3, 1))),
    ),
    (Layer("branch_pool", 192),),
)
BLOCKS: dict[str, Block] = {
    "Mixed_5b": block_a(32),
    "Mixed_5c": block_a(64),
    "Mixed_5d": block_a(64),
    "Mixed_6a": BLOCK_B,
    "Mixed_6b": block_c(128),
    "Mixed_6c": block_c(160),
    "Mixed_6d": block_c(160),
    "Mixed_6e": block_c(192),
    "Mixed_7a": BLOCK_D,
    "Mixed_7b": BLOCK_E,
    "Mixed_7c": BLOCK_E,
}


class Unit(nn.Module):
    """A layer, of `width` / 32 times its channels."""

    layer: Layer
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        _, channels, kernel, stride, padding = self.layer
        given = dict(use_bias=False, dtype=self.dtype, name="conv")
        x = Conv(channels * self.width // 32, kernel, stride, padding, **given)(x)
        return nn.relu(ChannelNorm("batch", epsilon=1e-3, name="bn")(x))


class Mixed(nn.Module):
    """A block: the channels of its branches, one after another.

    Attributes:
      pool: of 3x3 pixels, where the map is not halved: "mean", of what lies inside the map; or with
        zeros around it, "padded"; or "max".
    """

    block: Block
    width: int
    pool: Literal["mean", "padded", "max"]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        *branches, last = self.block
        found = [self.branch(branch, x) for branch in branches]
        if not last:
            found.append(max_pool(x, 3, 2))
        elif self.pool == "max":
            found.append(self.branch(last, max_pool(x, 3, 1, padding=1)))
        else:
            around = dict(padding=((1, 1), (1, 1)), count_include_pad=self.pool == "padded")
            found.append(self.branch(last, nn.avg_pool(x, (3, 3), **around)))
        return jnp.concatenate(found, axis=-1)

    def branch(self, branch: Branch, x: Array) -> Array:
        for step in branch:
            layers = (step,) if isinstance(step, Layer) else step
            found = [Unit(one, self.width, self.dtype, name=one.name)(x) for one in layers]
            x = jnp.concatenate(found, axis=-1)
        return x


class InceptionV3(nn.Module):
    """Pictures [B, H, W, C] of 75 pixels and more -> Features: the cells of the last map, and their
    mean, [B, 64 width].

    Attributes:
      variant: "torchvision", or "fid", the network of 2015 by which the Frechet distance is called
        FID. Their weights differ, and so does pooling within blocks: "fid" does not count the zeros
        around a map, and takes maxima in the last block (pytorch-fid's inception.py, 0.3.0).
      width: channels of the first convolution, to which all others are in proportion.
    """

    variant: Variant
    width: int = 32
    dtype: Any = jnp.float32

    def __call__(self, image: Array) -> Features:
        return as_features(self.feature_map(image))

    @nn.compact
    def feature_map(self, image: Array) -> Array:
        """The last block's map, [B, H', W', C']."""
        _, height, width, _ = image.shape
        if min(height, width) < 75:
            raise UserError(
                f"pictures of {height} x {width} pixels are too small for Inception, which takes 75"
                " and more; the option `size` of name=pretrained enlarges them"
            )
        x = image
        for layer in STEM:
            x = Unit(layer, self.width, self.dtype, name=layer.name)(x)
            if layer.name in POOLED:
                x = max_pool(x, 3, 2)
        pools = dict.fromkeys(BLOCKS, "padded")
        if self.variant == "fid":
            pools = dict.fromkeys(BLOCKS, "mean") | {"Mixed_7c": "max"}
        for name, block in BLOCKS.items():
            x = Mixed(block, self.width, pools[name], self.dtype, name=name)(x)
        return x
