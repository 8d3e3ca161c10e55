"""BERT (Devlin et al. 2019): a bidirectional encoder with norms after the residuals."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.layers import Array, Dense, Embed, LayerNorm
from vismem.models.transformer import Block, Stack


class Bert(nn.Module):
    """Token ids -> features and, with a pooler, one vector of the whole.

    Attributes:
      hidden: width of the feed-forward layers.
      positions: the most tokens of a text. segments: rows of the segment table.
      pooler: whether there is a pooled vector.
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
    ) -> tuple[Array, Array | None]:
        """Features [B, L, D], and the pooled vector [B, D] or None.

        Args:
          ids: int32 [B, L], L up to `positions`.
          mask: bool [B, L], the tokens that exist; all by default.
          segments: int32 [B, L], the first by default.
        """
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
        if not self.pooler:
            return x, None
        pool = Dense(self.width, ("embed", None), dtype=self.dtype, name="pool")
        return x, nn.tanh(pool(x[:, 0]))
