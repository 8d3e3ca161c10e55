"""Texts as what is to be written: each begins after padding (id 0) and ends with it, whatever the
tokenizer; so a T5 does that was trained by others.
"""

import jax
import jax.numpy as jnp
import optax


def before(tokens: jax.Array) -> jax.Array:
    """What a decoder has read as it writes each of tokens int32 [B, L]: those before it."""
    return jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1]


def cross_entropy(logits: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How well logits [B, L, V] foresee tokens int32 [B, L], up to the first padding included.

    Returns:
      The mean cross-entropy in nats a token, and the share of texts of which every token is the
      likeliest, both float32.
    """
    counts = (before(tokens) > 0).at[:, 0].set(True)
    errors = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), tokens)
    exact = ((logits.argmax(-1) == tokens) | ~counts).all(1)
    return jnp.average(errors, weights=counts.astype(jnp.float32)), exact.mean()
