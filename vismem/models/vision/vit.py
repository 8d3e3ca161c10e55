"""The vision transformer of ViT, DINOv2, CLIP and SigLIP (Dosovitskiy et al. 2021)."""

import math
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array, Dense, LayerNorm, check_sizes
from vismem.models.transformer import Attention, Block, FeedForward, Stack, activation
from vismem.models.vision.stems import to_patches
from vismem.registry import nearest

# Name -> width, layers, hidden width, heads, as in big_vision (Zhai et al. 2022).
VARIANTS = {
    "mu": (32, 1, 128, 2),
    "Ti": (192, 12, 768, 3),
    "S": (384, 12, 1536, 6),
    "M": (512, 12, 2048, 8),
    "B": (768, 12, 3072, 12),
    "L": (1024, 24, 4096, 16),
    "So400m": (1152, 27, 4304, 16),
    "H": (1280, 32, 5120, 16),
    "g": (1408, 40, 6144, 16),
    "G": (1664, 48, 8192, 16),
}


def variant(name: str) -> dict[str, int]:
    """The sizes of a ViT by its usual name, e.g. "B/16": arguments of `ViT`."""
    size, _, patch = name.partition("/")
    if size not in VARIANTS:
        raise UserError(f"variant={name!r}: unknown size {size!r}; {nearest(size, VARIANTS)}")
    if not patch.isdecimal() or int(patch) < 1:
        raise UserError(f"variant={name!r}: needs the patch in pixels, e.g. '{size}/16'")
    width, layers, hidden, heads = VARIANTS[size]
    return dict(patch=int(patch), width=width, layers=layers, hidden=hidden, heads=heads)


class ViT(nn.Module):
    """Pictures [B, H, W, C] -> Features.

    Pixels that no whole patch covers, at the right and bottom, are left out.

    Attributes:
      size: of the square pictures that the position table is for, in pixels; it is resized for
        others.
      pool: "class" prepends a token that becomes `pooled`; "mean" is over the patches; "attention"
        is a learned query's look at them (Zhai et al. 2022).
      pooler: activation of one more layer on `pooled`, and its width; None for no such layer.
      registers: tokens of no place (Darcet et al. 2024), between the class token and the patches.
      norm_input: a norm before the first block, as in CLIP.
      norm_tokens: whether the last norm is for the tokens too, or for `pooled` alone (CLIP).
      antialias: resize positions as DINOv2 with registers does.
      activation, gated, qkv_bias, layer_scale, epsilon: see Block. scan: see Stack.
    """

    patch: int
    width: int
    layers: int
    heads: int
    hidden: int
    size: int = 224
    pool: Literal["class", "mean", "attention"] = "class"
    pooler: tuple[str, int] | None = None
    registers: int = 0
    norm_input: bool = False
    norm_tokens: bool = True
    patch_bias: bool = True
    antialias: bool = False
    activation: str = "gelu"
    gated: bool = False
    qkv_bias: bool = True
    layer_scale: float = 0.0
    epsilon: float = 1e-6
    scan: bool | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> Features:
        check_sizes(self, "vision", "patch", "width", "layers", "heads", "hidden")
        grid = image.shape[1] // self.patch, image.shape[2] // self.patch
        if 0 in grid:
            raise UserError(f"pictures of {image.shape[1:3]} hold no patch of {self.patch} pixels")
        image = image[:, : grid[0] * self.patch, : grid[1] * self.patch]
        x = PatchEmbed(self.patch, self.width, self.patch_bias, self.dtype, name="embed")(image)
        first = int(self.pool == "class")  # tokens with a row of the position table of their own
        if first:
            token = self.table("class", ()).astype(x.dtype)
            x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], axis=1)
        x = x + self.positions(first, grid).astype(x.dtype)
        if self.registers:
            registers = self.table("registers", (self.registers,)).astype(x.dtype)
            registers = jnp.broadcast_to(registers, (len(x), *registers.shape))
            x = jnp.concatenate([x[:, :first], registers, x[:, first:]], axis=1)
        extra = first + self.registers
        if self.norm_input:
            x = LayerNorm(self.epsilon, name="norm_input")(x)
        block = partial(
            Block,
            self.heads,
            self.hidden,
            self.activation,
            self.gated,
            qkv_bias=self.qkv_bias,
            layer_scale=self.layer_scale,
            epsilon=self.epsilon,
            dtype=self.dtype,
        )
        x = Stack(block, self.layers, self.scan, name="blocks")(x)
        normed = LayerNorm(self.epsilon, name="norm")(x)
        pooled = self.pooled(normed, extra)
        if self.norm_tokens:
            x = normed
        return Features(x[:, extra:], pooled, x[:, :extra])

    def pooled(self, x: Array, extra: int) -> Array:
        """[B, R + P, D] -> [B, E]."""
        match self.pool:
            case "class":
                pooled = x[:, 0]
            case "mean":
                pooled = x[:, extra:].mean(1)
            case "attention":
                pooled = AttentionPool(
                    self.heads, self.hidden, self.activation, self.epsilon, self.dtype, name="pool"
                )(x)
        if self.pooler is None:
            return pooled
        name, width = self.pooler
        return activation(name)(
            Dense(width, ("embed", None), dtype=self.dtype, name="pooler")(pooled)
        )

    def table(self, name: str, rows: tuple[int, ...]) -> Array:
        """A learned [*rows, D], in float32."""
        init = nn.initializers.normal(self.width**-0.5)
        init = nn.with_logical_partitioning(init, (*[None] * len(rows), "embed"))
        return self.param(name, init, (*rows, self.width))

    def positions(self, first: int, grid: tuple[int, int]) -> Array:
        """[first + P, D] for that many rows and columns of patches, in float32: what is resized is
        rounded after that, and once."""
        side = self.size // self.patch
        table = self.table("positions", (first + side * side,))
        patches = resize_positions(table[first:], grid, self.antialias)
        return jnp.concatenate([table[:first], patches])


class PatchEmbed(nn.Module):
    """One linear map a patch: [B, H, W, C] -> [B, P, D]; its kernel is a convolution's."""

    patch: int
    width: int
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> Array:
        patches = to_patches(image, self.patch).astype(self.dtype)
        init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        init = nn.with_logical_partitioning(init, (None, None, None, "embed"))
        shape = (self.patch, self.patch, image.shape[-1], self.width)
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        x = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, self.width)
        if self.use_bias:
            init = nn.with_logical_partitioning(nn.initializers.zeros, ("embed",))
            x = x + self.param("bias", init, (self.width,)).astype(self.dtype)
        return x.reshape(*patches.shape[:-1], self.width)


class AttentionPool(nn.Module):
    """A learned query attends to tokens [B, N, D] and passes a feed-forward layer: [B, D]."""

    heads: int
    hidden: int
    activation: str = "gelu"
    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        width = x.shape[-1]
        init = nn.with_logical_partitioning(nn.initializers.normal(width**-0.5), ("embed",))
        query = self.param("query", init, (width,)).astype(self.dtype)
        query = jnp.broadcast_to(query, (len(x), 1, width))
        y = Attention(self.heads, dtype=self.dtype, name="attention")(query, context=x)
        h = LayerNorm(self.epsilon, name="norm")(y)
        mlp = FeedForward(self.hidden, self.activation, dtype=self.dtype, name="mlp")
        return (y + mlp(h))[:, 0]


def resize_positions(table: Array, grid: tuple[int, int], antialias: bool = False) -> Array:
    """A table [side * side, D] for a grid of other rows and columns: [rows * columns, D].

    PyTorch's bicubic interpolation, whose kernel is another where it antialiases.
    """
    side = math.isqrt(len(table))
    if grid == (side, side):
        return table
    method = "cubic" if antialias else jax.image.ResizeMethod.CUBIC_PYTORCH
    square = table.reshape(side, side, -1)
    return jax.image.resize(square, (*grid, square.shape[-1]), method, antialias).reshape(
        grid[0] * grid[1], -1
    )
