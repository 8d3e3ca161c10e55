"""How language reaches the painter: as tokens in its attention, or folded into one vector.

Every fusion takes text features [B, L, E] with mask bool [B, L] and the canvas's patches [B, P, D], and
gives what joins the painter's attention, tokens [B, N, D] with mask bool [B, N] (N may be 0), and the
vector [B, D] that is added to its conditioning. A text without tokens (the unconditional case of
guidance) is all padding: it must come out as something definite.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.layers import Array, Dense, LayerNorm


def pool(features: Array, mask: Array) -> Array:
    """Mean over the tokens that exist: [B, L, E], bool [B, L] -> [B, E]; zeros where there are none."""
    weight = mask[..., None].astype(features.dtype)
    return (features * weight).sum(1) / jnp.maximum(weight.sum(1), 1)


class AttentionFusion(nn.Module):
    """Text tokens join the painter's self-attention; their mean joins its conditioning."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, text: Array, mask: Array, patches: Array) -> tuple[Array, Array, Array]:
        tokens = Dense(self.width, ("embed", None), dtype=self.dtype, name="tokens")(text)
        # A token that always exists, so that a text without tokens leaves something to attend to.
        start = self.param("start", nn.initializers.normal(1.0), (1, 1, self.width))
        batch = len(text)
        start = jnp.broadcast_to(start, (batch, 1, self.width)).astype(self.dtype)
        vector = Dense(self.width, ("embed", None), dtype=self.dtype, name="vector")(
            pool(text, mask)
        )
        tokens = jnp.concatenate([start, tokens], axis=1)
        return tokens, jnp.concatenate([jnp.ones((batch, 1), bool), mask], axis=1), vector


class ConcatFusion(nn.Module):
    """Pooled text and pooled picture features side by side, mixed by one layer into the conditioning."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, text: Array, mask: Array, patches: Array) -> tuple[Array, Array, Array]:
        both = jnp.concatenate([pool(text, mask), patches.mean(1)], axis=-1)
        vector = Dense(self.width, ("embed", None), dtype=self.dtype, name="mix")(both)
        return *no_tokens(len(text), self.width, self.dtype), vector


class CrossmodalFusion(nn.Module):
    """A multilayer perceptron for each side into one shared space, where they are added."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, text: Array, mask: Array, patches: Array) -> tuple[Array, Array, Array]:
        def project(x: Array, name: str) -> Array:
            x = nn.gelu(Dense(4 * self.width, dtype=self.dtype, name=f"{name}_up")(x))
            x = Dense(self.width, ("mlp", "embed"), dtype=self.dtype, name=f"{name}_down")(x)
            return LayerNorm(name=f"{name}_norm")(x)

        shared = project(pool(text, mask), "text") + project(patches.mean(1), "image")
        return *no_tokens(len(text), self.width, self.dtype), shared


def no_tokens(batch: int, width: int, dtype: Any) -> tuple[Array, Array]:
    """Tokens [B, 0, width] and their mask [B, 0]."""
    return jnp.zeros((batch, 0, width), dtype), jnp.zeros((batch, 0), bool)
