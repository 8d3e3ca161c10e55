"""How language reaches the painter: as tokens in its attention, or folded into one vector.

A fusion has two methods. `prepare` is called once a drawing, with text features [B, L, E] and mask
bool [B, L]; it gives the tokens [B, N, D] that join the painter's attention (N may be 0) with
their mask, and a vector [B, E'] (E' may be 0). `__call__` is called every step, with that vector
and the canvas's patches [B, P, D], and gives the vector [B, D] added to the painter's conditioning.
A text without tokens (the unconditional case of guidance) is all padding and must come out as
something definite.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.layers import Array, Dense, LayerNorm


def pool(features: Array, mask: Array) -> Array:
    """Mean over the tokens that exist: [B, L, E], bool [B, L] -> [B, E]; zeros if there are
    none.
    """
    weight = mask[..., None].astype(features.dtype)
    return (features * weight).sum(1) / jnp.maximum(weight.sum(1), 1)


class AttentionFusion(nn.Module):
    """Text tokens join the painter's self-attention, and only there is the text read.

    Their mean in the conditioning, beside the tokens, is a way round attention: it tells whole
    captions apart before any patch has found its words (the quickstart drew 67 for 78% of captions
    right with it, at a third of its steps; experiments/RESULTS.md).
    """

    width: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        # A token that always exists, so that a text without tokens leaves something to attend to.
        self.start = self.param("start", nn.initializers.normal(1.0), (1, 1, self.width))
        self.tokens = Dense(self.width, ("embed", None), dtype=self.dtype)

    def prepare(self, text: Array, mask: Array) -> tuple[Array, Array, Array]:
        start = jnp.broadcast_to(self.start.astype(self.dtype), (len(text), 1, self.width))
        tokens = jnp.concatenate([start, self.tokens(text)], axis=1)
        exists = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
        return tokens, exists, jnp.zeros((len(text), 0), self.dtype)

    def __call__(self, vector: Array, patches: Array) -> Array:
        return jnp.zeros((len(patches), self.width), self.dtype)


class ConcatFusion(nn.Module):
    """Pooled text and picture features side by side, mixed by one layer into the conditioning."""

    width: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.mix = Dense(self.width, ("embed", None), dtype=self.dtype)

    def prepare(self, text: Array, mask: Array) -> tuple[Array, Array, Array]:
        return *no_tokens(len(text), self.width, self.dtype), pool(text, mask)

    def __call__(self, vector: Array, patches: Array) -> Array:
        return self.mix(jnp.concatenate([vector, patches.mean(1)], axis=-1))


class CrossmodalFusion(nn.Module):
    """A multilayer perceptron for each side into one shared space, where they are added."""

    width: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.text = Projection(self.width, self.dtype)
        self.image = Projection(self.width, self.dtype)

    def prepare(self, text: Array, mask: Array) -> tuple[Array, Array, Array]:
        return *no_tokens(len(text), self.width, self.dtype), self.text(pool(text, mask))

    def __call__(self, vector: Array, patches: Array) -> Array:
        return vector + self.image(patches.mean(1))


class Projection(nn.Module):
    """[B, E] -> [B, width], two layers and a norm."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.gelu(Dense(4 * self.width, dtype=self.dtype, name="up")(x))
        x = Dense(self.width, ("mlp", "embed"), dtype=self.dtype, name="down")(x)
        return LayerNorm(name="norm")(x)


def no_tokens(batch: int, width: int, dtype: Any) -> tuple[Array, Array]:
    """Tokens [B, 0, width] and their mask [B, 0]."""
    return jnp.zeros((batch, 0, width), dtype), jnp.zeros((batch, 0), bool)
