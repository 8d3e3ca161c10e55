"""Pictures, and what is asked about them, to texts: an encoder of pictures before a T5 whose
encoder reads patches and words together (Cho et al. 2021, "Unifying vision-and-language tasks via
text generation").
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.layers import Array, Dense, Embed, sincos_2d
from vismem.models.text.t5 import T5


class Captioner(nn.Module):
    """The likely next words of a text about a picture.

    Attributes:
      vision_encoder: square pictures [B, H, W, C] -> Features, whose tokens are read.
      text_model: reads them beside the prompt, and writes.
      fusion: of models/fusion.py, by which a prompt reaches the patches once the T5's encoder has
        read it by itself: its vector is added to every patch, and its tokens, if any, are read
        beside them. None: the prompt's words are read beside the patches, and by nothing before.
    """

    vision_encoder: nn.Module
    text_model: T5
    fusion: nn.Module | None = None

    def setup(self) -> None:
        width, dtype = self.text_model.width, self.text_model.dtype
        if width % 4:
            raise UserError(
                f"text.width={width}: must be a multiple of 4, for the places of patches"
            )
        self.project = Dense(width, (None, "embed"), dtype=dtype)
        self.asked = Embed(1, width, dtype=dtype)  # what tells a prompt's words from patches

    def __call__(self, image: Array, prompt: Array | None, ids: Array) -> Array:
        """Logits [B, N, vocab_size] of the token after each of ids [B, N]; others as `encode`."""
        return self.decode(ids, *self.encode(image, prompt))

    def encode(self, image: Array, prompt: Array | None) -> tuple[Array, Array]:
        """Features [B, M, D] and mask [B, M], those that exist.

        Args:
          image: [B, H, W, C] in [-1, 1].
          prompt: int32 [B, L], padded with 0; None for none.
        """
        patches = self.vision_encoder(image).tokens
        side = math.isqrt(patches.shape[1])
        width, dtype = self.text_model.width, self.text_model.dtype
        x = self.project(patches) + sincos_2d(side, side, width).astype(dtype)
        mask = jnp.ones(x.shape[:2], bool)
        if prompt is not None:
            exists = prompt > 0
            if self.fusion is None:
                words = self.text_model.words(prompt) + self.asked(jnp.zeros_like(prompt))
            else:
                read = self.text_model.encode(prompt, exists)
                words, exists, vector = self.fusion.prepare(read, exists)
                x = x + self.fusion(vector, x)[:, None]
            x = jnp.concatenate([x, words], axis=1)
            mask = jnp.concatenate([mask, exists], axis=1)
        return self.text_model.encoder(x, mask), mask

    def decode(
        self,
        ids: Array,
        features: Array,
        features_mask: Array | None = None,
        mask: Array | None = None,
        position: Array | None = None,
    ) -> Array:
        """See `T5.decode`."""
        return self.text_model.decode(ids, features, features_mask, mask, position)
