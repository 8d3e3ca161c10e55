"""GPT-2 (Radford et al. 2019): a causal transformer with learned positions."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array, Dense, Embed, LayerNorm
from vismem.models.transformer import Block, Stack, last_token, tied_logits


class GPT2(nn.Module):
    """Token ids -> Features, and from those the logits of the next tokens.

    Attributes:
      hidden: width of the feed-forward layers.
      positions: the most tokens of a text.
      tied: whether the words' table makes the logits too.
      scan: see `Stack`.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    hidden: int
    positions: int = 1024
    activation: str = "gelu_new"
    epsilon: float = 1e-5
    tied: bool = True
    scan: bool | None = None
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.words = Embed(self.vocab_size, self.width, dtype=self.dtype)
        self.places = Embed(self.positions, self.width, dtype=self.dtype)
        block = partial(
            Block,
            self.heads,
            self.hidden,
            self.activation,
            causal=True,
            epsilon=self.epsilon,
            dtype=self.dtype,
        )
        self.blocks = Stack(block, self.layers, self.scan)
        self.norm = LayerNorm(self.epsilon)
        if not self.tied:
            self.head = Dense(self.vocab_size, ("embed", "vocab"), use_bias=False, dtype=self.dtype)

    def __call__(self, ids: Array, mask: Array | None = None) -> Features:
        """Encodes texts; `pooled` is the last token that exists.

        Args:
          ids: int32 [B, L], L up to `positions`.
          mask: bool [B, L], the tokens that exist; all by default.
        """
        if ids.shape[1] > self.positions:
            raise UserError(f"texts of {ids.shape[1]} tokens: GPT-2 takes {self.positions} here")
        x = self.words(ids) + self.places(jnp.arange(ids.shape[1]))
        x = self.norm(self.blocks(x, mask))
        if self.is_initializing():
            self.logits(x)
        return Features(x, last_token(x, mask), x[:, :0])

    def logits(self, tokens: Array) -> Array:
        """Features [B, L, D] -> logits [B, L, vocab_size] of the token after each."""
        return tied_logits(tokens, self.words) if self.tied else self.head(tokens)
