"""A convolutional autoencoder whose code is a grid of finite scalars, so that it can be drawn as
numbers or as tokens."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vismem.errors import UserError
from vismem.models.layers import Array
from vismem.models.vision.conv import ChannelNorm, Conv


class FSQ:
    """Finite scalar quantisation (Mentzer et al. 2023): channel i takes one of levels[i] values,
    evenly spaced in [-1, 1]. A code's token is the number that the channels' values spell, the
    first channel counting least; there is no codebook to learn, and none to collapse.
    """

    def __init__(self, levels: tuple[int, ...]):
        if not levels or min(levels) < 2:
            raise UserError(f"objective.levels={levels}: must be one number or more, each above 1")
        self.vocab_size = math.prod(levels)
        if self.vocab_size > 2**31:
            raise UserError(
                f"objective.levels={levels}: give {self.vocab_size} tokens, more than int32 counts"
            )
        self._most = np.array(levels) - 1
        self._base = np.cumprod((1, *levels[:-1]))

    def __call__(self, x: Array) -> Array:
        """Any numbers [..., C] -> codes."""
        return self.nearest(jnp.tanh(x.astype(jnp.float32)))

    def nearest(self, x: Array) -> Array:
        """The codes nearest to numbers [..., C] in [-1, 1]; the gradient passes as if nothing had
        been rounded."""
        codes = self._values(self._places(jnp.clip(x, -1, 1)))
        return x + jax.lax.stop_gradient(codes - x)

    def tokens(self, codes: Array) -> Array:
        """Codes [..., C] -> int32 [...], below `vocab_size`."""
        return (self._places(codes) * self._base).sum(-1)

    def codes(self, tokens: Array) -> Array:
        """int32 [...] -> codes [..., C]."""
        return self._values(tokens[..., None] // self._base % (self._most + 1))

    def _places(self, codes: Array) -> Array:
        return jnp.round((codes + 1) / 2 * self._most).astype(jnp.int32)

    def _values(self, places: Array) -> Array:
        return 2 * places.astype(jnp.float32) / self._most - 1


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, a norm before each, and a residual: [B, H, W, C] -> the same."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = x
        for i in range(2):
            h = nn.silu(ChannelNorm(name=f"norm_{i}")(h))
            h = Conv(x.shape[-1], dtype=self.dtype, name=f"conv_{i}")(h)
        return x + h


class Encoder(nn.Module):
    """[B, H, W, C] -> [B, h, w, outputs]; see `Autoencoder`."""

    patch: int
    widths: tuple[int, ...]
    blocks: int
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, width in enumerate(self.widths):
            p = 2 if i else self.patch
            x = rearrange(x, "b (h p) (w q) c -> b h w (p q c)", p=p, q=p)
            x = Conv(width, dtype=self.dtype, name=f"in_{i}")(x)
            for j in range(self.blocks):
                x = ResidualBlock(dtype=self.dtype, name=f"block_{i}_{j}")(x)
        x = nn.silu(ChannelNorm(name="norm")(x))
        return Conv(self.outputs, 1, dtype=self.dtype, name="out")(x)


class Decoder(nn.Module):
    """The way back: [B, h, w, c] -> [B, H, W, outputs]."""

    patch: int
    widths: tuple[int, ...]
    blocks: int
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, width in reversed(list(enumerate(self.widths))):
            x = Conv(width, dtype=self.dtype, name=f"in_{i}")(x)
            for j in range(self.blocks):
                x = ResidualBlock(dtype=self.dtype, name=f"block_{i}_{j}")(x)
            p, outputs = (2, width) if i else (self.patch, self.outputs)
            x = nn.silu(ChannelNorm(name=f"norm_{i}")(x))
            x = Conv(p * p * outputs, 1, dtype=self.dtype, name=f"out_{i}")(x)
            x = rearrange(x, "b h w (p q c) -> b (h p) (w q) c", p=p, q=p)
        return x.astype(jnp.float32)


class Autoencoder(nn.Module):
    """Pictures to grids of codes and back.

    Attributes:
      levels: of the quantisation, one a channel of the code.
      patch: pixels of a picture, on either axis, that a cell of the first map stands for.
      widths: channels of the maps, each half as wide and high as the one before; the last becomes
        the code.
      blocks: residual blocks of each map.
    """

    levels: tuple[int, ...] = (4, 4, 4, 4)
    patch: int = 4
    widths: tuple[int, ...] = (48,)
    blocks: int = 1
    dtype: Any = jnp.float32

    @property
    def fsq(self) -> FSQ:
        return FSQ(self.levels)

    @property
    def channels(self) -> int:
        """Of a code."""
        return len(self.levels)

    @property
    def cell(self) -> int:
        """Pixels, on either axis, that a code stands for."""
        return self.patch * 2 ** (len(self.widths) - 1)

    def setup(self) -> None:
        sizes, given = (self.patch, self.widths, self.blocks), {"dtype": self.dtype}
        self.encoder = Encoder(*sizes, len(self.levels), **given)
        self.decoder = Decoder(*sizes, 3, **given)

    def __call__(self, picture: Array) -> Array:
        """Pictures [B, H, W, 3] in [-1, 1] -> what they come back as."""
        return self.decode(self.encode(picture))

    def encode(self, picture: Array) -> Array:
        """[B, H, W, 3] in [-1, 1] -> codes [B, h, w, C] in [-1, 1]."""
        return self.fsq(self.encoder(picture))

    def decode(self, codes: Array) -> Array:
        """Codes [B, h, w, C] -> pictures [B, H, W, 3], about [-1, 1]."""
        return self.decoder(codes)
