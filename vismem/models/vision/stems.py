"""Small encoders of the canvas X_t: pictures to one vector a patch."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from vismem.errors import UserError
from vismem.models.layers import STEM, Array, Dense, check_sizes


def to_patches(image: Array, patch: int) -> Array:
    """[B, H, W, C] -> [B, (H / patch) * (W / patch), patch * patch * C], in row order."""
    return rearrange(image, "b (h p) (w q) c -> b (h w) (p q c)", p=patch, q=patch)


def from_patches(patches: Array, patch: int, grid: tuple[int, int]) -> Array:
    """The inverse of `to_patches`: [B, h * w, patch * patch * C] -> [B, H, W, C], grid (h, w)."""
    h, w = grid
    return rearrange(patches, "b (h w) (p q c) -> b (h p) (w q) c", h=h, w=w, p=patch, q=patch)


def check_patch(patch: int, size: int) -> None:
    """A patch that does not tile the canvas, a picture or an autoencoder's grid, is the user's
    mistake."""
    if size % patch:
        raise UserError(f"painter.patch={patch}: does not divide the canvas, {size} x {size}")


class PatchStem(nn.Module):
    """One linear map a patch (ViT's stem): [B, H, W, C] -> [B, P, width]."""

    patch: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> Array:
        patches = to_patches(image, self.patch)
        return Dense(self.width, (None, "embed"), kernel_init=STEM, dtype=self.dtype, name="embed")(
            patches
        )


class ConvStem(nn.Module):
    """Two 3x3 convolutions, then one linear map a patch of their features: [B, H, W, C] -> [B, P,
    width].

    A pixel is seen with its neighbours before patches part them (Xiao et al. 2021, "Early
    convolutions help transformers see better").
    """

    patch: int
    width: int
    channels: int = 16
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> Array:
        check_sizes(self, "vision", "channels")
        kernel_init = nn.with_logical_partitioning(
            nn.initializers.he_normal(), (None, None, None, "mlp")
        )
        x = image.astype(self.dtype)
        for i in range(2):
            x = nn.Conv(
                self.channels, (3, 3), kernel_init=kernel_init, dtype=self.dtype, name=f"conv_{i}"
            )(x)
            x = nn.gelu(x)
        return PatchStem(self.patch, self.width, dtype=self.dtype, name="patches")(
            jnp.concatenate([image.astype(self.dtype), x], axis=-1)
        )
