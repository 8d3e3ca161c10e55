"""The convolutional autoencoder of latent diffusion (Rombach et al. 2022, "High-resolution image
synthesis with latent diffusion models"), shaped as diffusers' `AutoencoderKL`.

Shapes: feature maps are [B, H, W, C].
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.layers import Array
from vismem.models.transformer import Attention
from vismem.models.vision.conv import ChannelNorm, Conv

EPSILON = 1e-6  # of every norm


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, a norm before each, and a residual, with a projection of x where the
    number of channels changes."""

    features: int
    groups: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = x
        for i in range(2):
            h = nn.silu(ChannelNorm(epsilon=EPSILON, groups=self.groups, name=f"norm_{i}")(h))
            h = Conv(self.features, dtype=self.dtype, name=f"conv_{i}")(h)
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, dtype=self.dtype, name="shortcut")(x)
        return x + h


class Middle(nn.Module):
    """Two residual blocks and, between them, attention of one head over all cells of the map."""

    groups: int
    attention: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        block = partial(ResidualBlock, x.shape[-1], self.groups, self.dtype)
        x = block(name="block_0")(x)
        if self.attention:
            h = ChannelNorm(epsilon=EPSILON, groups=self.groups, name="norm")(x)
            h = h.reshape(len(h), -1, h.shape[-1])
            x = x + Attention(1, dtype=self.dtype, name="attention")(h).reshape(x.shape)
        return block(name="block_1")(x)


class Encoder(nn.Module):
    """[B, H, W, 3] -> [B, h, w, outputs]; see `AutoencoderKL`."""

    widths: tuple[int, ...]
    blocks: int
    groups: int
    attention: bool
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = Conv(self.widths[0], dtype=self.dtype, name="in")(x)
        for i, width in enumerate(self.widths):
            if i:  # padded below and to the right only
                x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
                x = Conv(x.shape[-1], 3, 2, 0, dtype=self.dtype, name=f"down_{i}")(x)
            for j in range(self.blocks):
                x = ResidualBlock(width, self.groups, self.dtype, name=f"stage_{i}_block_{j}")(x)
        x = Middle(self.groups, self.attention, self.dtype, name="middle")(x)
        x = nn.silu(ChannelNorm(epsilon=EPSILON, groups=self.groups, name="norm")(x))
        return Conv(self.outputs, dtype=self.dtype, name="out")(x)


class Decoder(nn.Module):
    """The way back: [B, h, w, c] -> [B, H, W, 3], with a block more in each stage."""

    widths: tuple[int, ...]
    blocks: int
    groups: int
    attention: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = Conv(self.widths[-1], dtype=self.dtype, name="in")(x)
        x = Middle(self.groups, self.attention, self.dtype, name="middle")(x)
        for i, width in reversed(list(enumerate(self.widths))):
            for j in range(self.blocks + 1):
                x = ResidualBlock(width, self.groups, self.dtype, name=f"stage_{i}_block_{j}")(x)
            if i:
                x = x.repeat(2, axis=1).repeat(2, axis=2)
                x = Conv(width, dtype=self.dtype, name=f"up_{i}")(x)
        x = nn.silu(ChannelNorm(epsilon=EPSILON, groups=self.groups, name="norm")(x))
        return Conv(3, dtype=self.dtype, name="out")(x)


class AutoencoderKL(nn.Module):
    """Pictures to grids of latents and back.

    Trained as a variational autoencoder, its encoder gives mean and variance of each latent. Here
    the latents are the means, so that a picture has one encoding, shifted and scaled to a variance
    of about 1; they have no bounds.

    Attributes:
      widths: channels of the stages, each half as wide and high as the one before.
      blocks: residual blocks of a stage of the encoder; the decoder's have one more.
      channels: of the latents.
      groups: of channels, in every norm.
      scaling_factor, shift_factor: latents are (mean - shift_factor) * scaling_factor.
      quant, post_quant: whether a 1x1 convolution comes after the encoder, and before the decoder.
      attention: whether there is attention in the middle of either.
    """

    widths: tuple[int, ...]
    blocks: int
    channels: int
    groups: int
    scaling_factor: float
    shift_factor: float = 0.0
    quant: bool = True
    post_quant: bool = True
    attention: bool = True
    dtype: Any = jnp.float32

    @property
    def cell(self) -> int:
        """Pixels, on either axis, that a latent stands for."""
        return 2 ** (len(self.widths) - 1)

    def setup(self) -> None:
        sizes, moments = (self.widths, self.blocks, self.groups, self.attention), 2 * self.channels
        self.encoder = Encoder(*sizes, moments, self.dtype)
        self.decoder = Decoder(*sizes, self.dtype)
        if self.quant:
            self.quant_conv = Conv(moments, 1, dtype=self.dtype)
        if self.post_quant:
            self.post_quant_conv = Conv(self.channels, 1, dtype=self.dtype)

    def __call__(self, picture: Array) -> Array:
        """Pictures [B, H, W, 3] in [-1, 1] -> what they come back as."""
        return self.decode(self.encode(picture))

    def encode(self, picture: Array) -> Array:
        """[B, H, W, 3] in [-1, 1] -> latents float32 [B, h, w, C]."""
        moments = self.encoder(picture)
        if self.quant:
            moments = self.quant_conv(moments)
        mean = moments[..., : self.channels].astype(jnp.float32)
        return (mean - self.shift_factor) * self.scaling_factor

    def decode(self, latents: Array) -> Array:
        """Latents [B, h, w, C] -> pictures float32 [B, H, W, 3], about [-1, 1]."""
        mean = latents / self.scaling_factor + self.shift_factor
        if self.post_quant:
            mean = self.post_quant_conv(mean)
        return self.decoder(mean).astype(jnp.float32)
