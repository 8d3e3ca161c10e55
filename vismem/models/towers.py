"""Two towers, one for pictures and one for texts, into one space (CLIP, SigLIP, LiT)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.features import Features
from vismem.models.fusion import Projection, pool
from vismem.models.layers import Array, Dense


class TextEncoder(nn.Module):
    """A text encoder of models/text, which gives tokens and mask, with the mean over the tokens as
    `pooled`, under the name by which pretrained ones are found: ids int32 [B, L] -> Features.
    """

    text_encoder: nn.Module

    def __call__(self, tokens: Array, mask: Array | None = None) -> Features:
        features, mask = self.text_encoder(tokens)
        return Features(features, pool(features, mask), features[:, :0])


class ImageEncoder(nn.Module):
    """An encoder of models/vision, under the name by which pretrained ones are found: pictures
    [B, H, W, 3] -> Features.
    """

    vision_encoder: nn.Module

    def __call__(self, image: Array) -> Features:
        return self.vision_encoder(image)


class Projected(nn.Module):
    """An encoder whose `pooled` passes one linear layer without bias: [B, E] -> [B, width].

    Attributes:
      width: 0 for no such layer.
      perceptron: whether it is two layers and a norm instead (models/fusion.py).
    """

    encoder: nn.Module
    width: int
    perceptron: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        if self.width and self.perceptron:
            self.projection = Projection(self.width, self.dtype)
        elif self.width:
            self.projection = Dense(self.width, ("embed", None), False, dtype=self.dtype)

    def __call__(self, *inputs: Any) -> Features:
        features = self.encoder(*inputs)
        return features._replace(pooled=self.project(features.pooled))

    def project(self, pooled: Array) -> Array:
        return self.projection(pooled) if self.width else pooled


class TwoTowers(nn.Module):
    """How well texts fit pictures.

    Attributes:
      image, text: encoders that give Features whose `pooled` are as wide as each other's.
      scale: first value of the logits' logarithmic scale.
      bias: first value of what is added to the logits; None for none (softmax losses need none).
    """

    image: nn.Module
    text: nn.Module
    scale: float = 2.6592
    bias: float | None = None

    def setup(self) -> None:
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(self.scale), ())
        if self.bias is not None:
            self.logit_bias = self.param("logit_bias", nn.initializers.constant(self.bias), ())

    def __call__(
        self, image: Array, tokens: Array, mask: Array | None = None
    ) -> tuple[Features, Features, Array]:
        """Features of pictures [B, H, W, C] and of texts [N, L], each with `pooled` of unit length,
        and logits float32 [B, N].
        """
        images, texts = self.encode_image(image), self.encode_text(tokens, mask)
        return images, texts, self.logits(images.pooled, texts.pooled)

    def encode_image(self, image: Array) -> Features:
        return embedding(self.image(image))

    def encode_text(self, tokens: Array, mask: Array | None = None) -> Features:
        return embedding(self.text(tokens, mask))

    def logits(self, images: Array, texts: Array) -> Array:
        """[B, E], [N, E] -> [B, N]."""
        logits = images @ texts.T * jnp.exp(self.logit_scale)
        return logits if self.bias is None else logits + self.logit_bias


def embedding(features: Features) -> Features:
    return features._replace(pooled=unit(features.pooled))


def unit(pooled: Array) -> Array:
    """[B, E] -> float32 [B, E], of unit length."""
    pooled = pooled.astype(jnp.float32)
    return pooled / jnp.linalg.norm(pooled, axis=-1, keepdims=True)
