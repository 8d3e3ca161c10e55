"""The text towers of CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array, Dense, Embed, LayerNorm
from vismem.models.transformer import Block, Stack


class TextTower(nn.Module):
    """Token ids int32 [B, L] and mask bool [B, L] of those that exist -> Features.

    Attributes:
      length: rows of the position table, the most tokens a text may have.
      end: `pooled` is the token at the first id `end`; at the largest id where None, as in CLIP's
        first checkpoints, whose end token is the last of the vocabulary; at the last position
        where -1 (SigLIP).
      head: width of one more layer on `pooled`; 0 for no such layer.
      activation, causal, epsilon: see Block. scan: see Stack.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    hidden: int
    length: int
    end: int | None = -1
    head: int = 0
    activation: str = "gelu"
    causal: bool = False
    epsilon: float = 1e-6
    scan: bool | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array, mask: Array | None = None) -> Features:
        count = tokens.shape[1]
        if count > self.length:
            raise UserError(f"texts of {count} tokens: the text tower takes {self.length} at most")
        init = nn.with_logical_partitioning(nn.initializers.normal(0.02), (None, "embed"))
        positions = self.param("positions", init, (self.length, self.width))[:count]
        x = Embed(self.vocab_size, self.width, dtype=self.dtype, name="embed")(tokens)
        x = x + positions.astype(self.dtype)
        block = partial(
            Block,
            self.heads,
            self.hidden,
            self.activation,
            causal=self.causal,
            epsilon=self.epsilon,
            dtype=self.dtype,
        )
        x = Stack(block, self.layers, self.scan, name="blocks")(x, mask)
        x = LayerNorm(self.epsilon, name="norm")(x)
        pooled = jnp.take_along_axis(x, self.last(tokens)[:, None, None], axis=1)[:, 0]
        if self.head:
            pooled = Dense(self.head, ("embed", None), dtype=self.dtype, name="head")(pooled)
        return Features(x, pooled, x[:, :0])

    def last(self, tokens: Array) -> Array:
        """Position of the token that speaks for the text, [B]."""
        if self.end is None:
            return tokens.argmax(1)
        if self.end < 0:
            return jnp.full(len(tokens), tokens.shape[1] - 1)
        return (tokens == self.end).argmax(1)
