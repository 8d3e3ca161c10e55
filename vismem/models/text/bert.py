"""BERT (Devlin et al. 2019): a bidirectional encoder with norms after the residuals."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array, Dense, Embed, LayerNorm
from vismem.models.transformer import Block, Stack


class Bert(nn.Module):
    """Token ids -> Features.

    Attributes:
      hidden: width of the feed-forward layers.
      positions: the most tokens of a text. segments: rows of the segment table.
      pooler: whether `pooled` is the first token after one more layer, or the token itself.
      scan: see `Stack`.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    hidden: int
    positions: int = 512
    segments: int = 2
    activation: str = "gelu"
    epsilon: float = 1e-12
    pooler: bool = True
    scan: bool | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, ids: Array, mask: Array | None = None, segments: Array | None = None
    ) -> Features:
        """Encodes texts.

        Args:
          ids: int32 [B, L], L up to `positions`.
          mask: bool [B, L], the tokens that exist; all by default.
          segments: int32 [B, L], the first by default.
        """
        if ids.shape[1] > self.positions:
            raise UserError(f"texts of {ids.shape[1]} tokens: BERT takes {self.positions} here")
        embed = partial(Embed, features=self.width, dtype=self.dtype)
        x = embed(self.vocab_size, name="words")(ids)
        x = x + embed(self.positions, name="positions_table")(jnp.arange(ids.shape[1]))
        segments = jnp.zeros_like(ids) if segments is None else segments
        x = x + embed(self.segments, name="segments_table")(segments)
        x = LayerNorm(self.epsilon, name="norm")(x)
        block = partial(
            Block,
            self.heads,
            self.hidden,
            self.activation,
            post_norm=True,
            epsilon=self.epsilon,
            dtype=self.dtype,
        )
        x = Stack(block, self.layers, self.scan, name="blocks")(x, mask)
        pooled = x[:, 0]
        if self.pooler:
            pool = Dense(self.width, ("embed", None), dtype=self.dtype, name="pool")
            pooled = nn.tanh(pool(pooled))
        return Features(x, pooled, x[:, :0])
