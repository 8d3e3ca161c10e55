"""Whole encoders as the canvas's stem: what they find is added to a linear map of each patch, so
that no pixel is lost on the way to the painter.

All give [B, H, W, C] -> [B, P, width], one vector a patch in row order, as `PatchStem` does.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.layers import STEM, Array, Dense, LayerNorm, check_sizes, sincos_2d
from vismem.models.transformer import Block, Stack
from vismem.models.vision.pretrained import PretrainedVision
from vismem.models.vision.resnet import ResNet
from vismem.models.vision.stems import PatchStem
from vismem.models.vision.vgg import VGG


class EncoderStem(nn.Module):
    """A linear map a patch, and one of what `encode` finds there."""

    patch: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> Array:
        patches = PatchStem(self.patch, self.width, dtype=self.dtype, name="patches")(image)
        found = self.encode(image, patches)
        out = Dense(self.width, ("mlp", "embed"), kernel_init=STEM, dtype=self.dtype, name="out")
        return patches + out(found)

    def encode(self, image: Array, patches: Array) -> Array:
        """Pictures [B, H, W, C] and their patches [B, P, width] -> [B, P, E]."""
        raise NotImplementedError

    def halvings(self) -> int:
        """How often a map is halved until a cell is a patch."""
        if self.patch & (self.patch - 1):
            raise UserError(f"painter.patch={self.patch}: must be a power of two for this encoder")
        return self.patch.bit_length() - 1


class ViTStem(EncoderStem):
    """Transformer blocks over the patches (Dosovitskiy et al. 2021)."""

    layers: int = 2
    heads: int = 4

    def encode(self, image: Array, patches: Array) -> Array:
        check_sizes(self, "vision", "layers", "heads")
        rows, columns = image.shape[1] // self.patch, image.shape[2] // self.patch
        x = patches + sincos_2d(rows, columns, self.width).astype(self.dtype)
        block = partial(Block, self.heads, 4 * self.width, dtype=self.dtype)
        return LayerNorm(name="norm")(Stack(block, self.layers, name="blocks")(x))


class ResNetStem(EncoderStem):
    """A ResNet of basic blocks (He et al. 2016) up to the stage whose cells are patches.

    Attributes:
      channels: of the first stage; each later one has twice as many on half the map.
      depth: blocks a stage.
    """

    channels: int = 16
    depth: int = 1

    def encode(self, image: Array, patches: Array) -> Array:
        check_sizes(self, "vision", "channels", "depth")
        widths = tuple(self.channels << i for i in range(self.halvings() + 1))
        depths = (self.depth,) * len(widths)
        encoder = ResNet(
            "basic", depths, widths, self.channels, small=True, dtype=self.dtype, name="encoder"
        )
        return encoder(image).tokens


class VGGStem(EncoderStem):
    """VGG-11 (Simonyan & Zisserman 2015) up to the stage whose cells are patches.

    Attributes:
      channels: of the first stage; each later one has twice as many on half the map.
    """

    channels: int = 16

    def encode(self, image: Array, patches: Array) -> Array:
        check_sizes(self, "vision", "channels")
        stages = ((self.channels << i,) * (1 if i < 2 else 2) for i in range(self.halvings()))
        return VGG(tuple(stages), dtype=self.dtype, name="encoder")(image).tokens


class PretrainedStem(EncoderStem):
    """An encoder from a folder; where its cells are not patches, their map is resized.

    Attributes:
      folder, encoder, mean, std, size: see PretrainedVision.
    """

    folder: str = ""
    encoder: Mapping[str, Any] | None = None
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    size: int = 0

    def encode(self, image: Array, patches: Array) -> Array:
        given = (self.folder, self.encoder, self.mean, self.std, self.size)
        cells = PretrainedVision(*given, dtype=self.dtype, name="vision_encoder")(image).tokens
        if cells.shape[1] == patches.shape[1]:
            return cells
        before, after = (math.isqrt(x.shape[1]) for x in (cells, patches))
        cells = cells.reshape(len(image), before, before, -1)
        resized = jax.image.resize(cells, (len(image), after, after, cells.shape[-1]), "bilinear")
        return resized.reshape(*patches.shape[:2], -1)
