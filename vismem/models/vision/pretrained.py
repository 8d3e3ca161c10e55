"""A pretrained picture encoder as a part of a model."""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem import registry
from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array

ENCODERS = {
    "inception": "vismem.models.vision.inception:InceptionV3",
    "resnet": "vismem.models.vision.resnet:ResNet",
    "squeezenet": "vismem.models.vision.squeezenet:SqueezeNet",
    "vgg": "vismem.models.vision.vgg:VGG",
    "vit": "vismem.models.vision.vit:ViT",
}


class PretrainedVision(nn.Module):
    """Pictures [B, H, W, 3] in [-1, 1] -> Features.

    Attributes:
      folder: of the checkpoint, or its name on the Hub. It is read when a run begins: its weights
        fill the parameters (training/encoders.py).
      encoder: `{"name": ..., **options}` of ENCODERS, as the run found it in the folder.
      mean, std: of each channel, of pictures in [0, 1], as the encoder takes them.
      size: pixels a side to which pictures are resized first, for encoders that find too little in
        small ones; 0 for pictures as they are. A ViT's position table is resized to either.
      resize: the method; "cubic" is clean-fid's (Parmar et al. 2022; its resize.py, 0.1.35):
        antialiased, without rounding, and cut off at black and white.
    """

    folder: str
    encoder: Mapping[str, Any]
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    size: int = 0
    resize: Literal["bilinear", "cubic"] = "bilinear"
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.module = registry.build(ENCODERS, self.encoder, "vision.encoder", dtype=self.dtype)

    def __call__(self, image: Array) -> Features:
        if image.shape[-1] != len(self.mean):
            raise UserError(
                f"vision.folder={self.folder!r}: takes pictures of {len(self.mean)} channels, not "
                f"{image.shape[-1]}"
            )
        if self.size:
            shape = (len(image), self.size, self.size, image.shape[-1])
            image = jax.image.resize(image, shape, self.resize)
            if self.resize == "cubic":
                image = jnp.clip(image, -1, 1)
        return self.module(((image + 1) / 2 - jnp.array(self.mean)) / jnp.array(self.std))
