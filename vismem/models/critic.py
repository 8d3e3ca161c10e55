"""The critic of the objective `gan`: how real pictures look beside their texts."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from vismem import registry
from vismem.models import TEXT
from vismem.models.fusion import pool
from vismem.models.layers import Array, Dense


class Reading(NamedTuple):
    """A text as the critic reads it: words [B, L, E], mask bool [B, L], sentence [B, E]."""

    words: Array
    mask: Array
    sentence: Array


class Verdict(NamedTuple):
    """What the critic says of pictures.

    Attributes:
      logits: of every scale, float32 [B, patches], large where it looks real; the last scale is the
        whole picture, [B, 1].
      regions: features of the coarsest patches, [B, P, E].
      whole: of the picture, [B, E].
    """

    logits: tuple[Array, ...]
    regions: Array
    whole: Array


class Halving(nn.Module):
    """A convolution of 4 x 4 pixels at every second one: [B, H, W, C] -> [B, H/2, W/2, features].

    As a product of patches, since a gradient penalty needs the gradient of a gradient, for which
    XLA has no fast convolution on CPUs: of the three maps of 32 pictures of 32 pixels it took 310
    ms of one core, and takes 56 so.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = rearrange(x, "b (h p) (w q) c -> b h w (p q c)", p=2, q=2)
        height, width = x.shape[1] - 1, x.shape[2] - 1
        corners = [x[:, i : i + height, j : j + width] for i in (0, 1) for j in (0, 1)]
        init = nn.initializers.he_normal()
        dense = Dense(
            self.features, (None, "mlp"), kernel_init=init, dtype=self.dtype, name="windows"
        )
        return dense(jnp.concatenate(corners, axis=-1))


class Critic(nn.Module):
    """Halves the picture with each convolution, and judges the patches of each map but the first:
    a linear layer, and the product with a projection of the text (Miyato & Koyama 2018).

    Attributes:
      text: `{"name": ..., **options}` of models.TEXT.
      vocab_size: of the tokenizer.
      widths: channels of the maps.
      embedding: E, the width of what pictures and texts are compared in.
    """

    text: Mapping[str, Any]
    vocab_size: int
    widths: tuple[int, ...] = (48, 96, 192)
    embedding: int = 128
    dtype: Any = jnp.float32

    def setup(self) -> None:
        given = {"dtype": self.dtype}
        self.text_encoder = registry.build(
            TEXT, self.text, "text", vocab_size=self.vocab_size, **given
        )
        self.words = Dense(self.embedding, ("embed", None), **given)
        self.sentence = Dense(self.embedding, ("embed", None), **given)
        self.maps = [Halving(width, **given) for width in self.widths]
        self.regions = Dense(self.embedding, ("mlp", None), **given)
        self.whole = Dense(self.embedding, ("mlp", None), **given)
        scales = (*self.widths[1:], self.embedding)
        self.alone = [Dense(1, ("embed", None)) for _ in scales]
        self.beside_text = [Dense(width, (None, "embed"), **given) for width in scales]

    def read(self, tokens: Array) -> Reading:
        """Texts, int32 [B, L]."""
        features, mask = self.text_encoder(tokens)
        mask = mask.at[:, 0].set(True)  # a text without words is one of padding
        return Reading(self.words(features), mask, self.sentence(pool(features, mask)))

    def __call__(self, picture: Array, sentence: Array) -> Verdict:
        """Pictures or codes [B, H, W, C], each beside its text's `sentence` [B, E]."""
        x, seen = picture, []
        for convolve in self.maps:
            x = nn.leaky_relu(convolve(x), 0.2)
            seen.append(x.reshape(len(x), -1, x.shape[-1]))
        regions = seen[-1]
        whole = self.whole(regions.reshape(len(x), -1))
        scales = [*seen[1:], nn.leaky_relu(whole, 0.2)[:, None]]
        logits = []
        for x, alone, beside_text in zip(scales, self.alone, self.beside_text):
            fit = jnp.einsum("bpc,bc->bp", x, beside_text(sentence)) / math.sqrt(x.shape[-1])
            logits.append((alone(x)[..., 0] + fit).astype(jnp.float32))
        return Verdict(tuple(logits), self.regions(regions), whole)
