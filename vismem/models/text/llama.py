"""Llama (Touvron et al. 2023) and what is built like it: Mistral, Qwen2."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vismem.models.features import Features
from vismem.models.layers import Array, Dense, Embed
from vismem.models.transformer import (
    Attention,
    FeedForward,
    RMSNorm,
    Stack,
    last_token,
    tied_logits,
)


class LlamaBlock(nn.Module):
    """Attention and a gated feed-forward layer, each with its norm before and a residual.

    The attributes are `Llama`'s.
    """

    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    activation: str
    epsilon: float
    window: int | None
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array | None, rotation: tuple[Array, Array]) -> Array:
        attention = Attention(
            self.heads,
            causal=True,
            qkv_bias=self.qkv_bias,
            out_bias=self.out_bias,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            window=self.window,
            dtype=self.dtype,
            name="attention",
        )
        x = x + attention(RMSNorm(self.epsilon, name="norm_attention")(x), mask, rotation=rotation)
        mlp = FeedForward(
            self.hidden,
            self.activation,
            gated=True,
            use_bias=self.mlp_bias,
            dtype=self.dtype,
            name="mlp",
        )
        return x + mlp(RMSNorm(self.epsilon, name="norm_mlp")(x))


class Llama(nn.Module):
    """Token ids -> Features, and from those the logits of the next tokens.

    Attributes:
      kv_heads: of keys and values; head_dim: width of each head.
      hidden: width of the feed-forward layers.
      frequencies: of the rotary positions, radians a token, head_dim / 2 of them.
      window: how many tokens up to itself each one sees; all by default.
      qkv_bias, out_bias, mlp_bias: whether these layers have a bias.
      tied: whether the words' table makes the logits too.
      scan: see `Stack`.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    frequencies: tuple[float, ...]
    activation: str = "silu"
    epsilon: float = 1e-6
    window: int | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    tied: bool = True
    scan: bool | None = None
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.words = Embed(self.vocab_size, self.width, dtype=self.dtype)
        block = partial(
            LlamaBlock,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.hidden,
            self.activation,
            self.epsilon,
            self.window,
            self.qkv_bias,
            self.out_bias,
            self.mlp_bias,
            self.dtype,
        )
        self.blocks = Stack(block, self.layers, self.scan)
        self.norm = RMSNorm(self.epsilon)
        if not self.tied:
            self.head = Dense(self.vocab_size, ("embed", "vocab"), use_bias=False, dtype=self.dtype)

    def __call__(self, ids: Array, mask: Array | None = None) -> Features:
        """Encodes texts, ids int32 [B, L]; `pooled` is the last token that exists.

        Args:
          mask: bool [B, L], the tokens that exist; all by default.
        """
        frequencies = np.asarray(self.frequencies, np.float32)
        angles = np.arange(ids.shape[1], dtype=np.float32)[:, None] * frequencies
        rotation = jnp.asarray(np.cos(angles)), jnp.asarray(np.sin(angles))
        x = self.norm(self.blocks(self.words(ids), mask, rotation))
        if self.is_initializing():
            self.logits(x)
        return Features(x, last_token(x, mask), x[:, :0])

    def logits(self, tokens: Array) -> Array:
        """Features [B, L, D] -> logits [B, L, vocab_size] of the token after each."""
        return tied_logits(tokens, self.words) if self.tied else self.head(tokens)


def rotary_frequencies(head_dim: int, base: float) -> np.ndarray:
    """Radians a token of each feature pair, float32 [head_dim / 2] (Su et al. 2021)."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    return (1 / np.float32(base) ** exponents).astype(np.float32)


def llama3_frequencies(
    frequencies: np.ndarray, factor: float, low: float, high: float, length: int
) -> np.ndarray:
    """Llama 3.1's stretching of rotary positions for longer texts than trained on at first.

    Turns longer than length / low tokens take `factor` times as long, those shorter than
    length / high stay, and between the two it goes over smoothly.
    """
    turns = length * frequencies / (2 * np.pi)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return ((1 - smooth) * frequencies / factor + smooth * frequencies).astype(np.float32)
