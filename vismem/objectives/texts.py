"""Texts as what is to be written: each begins after padding (id 0) and ends with it, whatever the
tokenizer; so a T5 does that was trained by others.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vismem import registry
from vismem.errors import UserError
from vismem.models import TEXT_TO_TEXT
from vismem.models.text.t5 import T5


def writer(text: Mapping[str, Any], vocab_size: int, dtype: jnp.dtype) -> T5:
    """The model that writes, which an objective's parameters hold as "text_model".

    Args:
      text: `{"name": ..., **options}` of models.TEXT_TO_TEXT. A T5 begins with the weights in
        `text.folder`, if that is given, which says its sizes too (training/encoders.py).
      vocab_size: of the tokenizer. dtype: of the products.
    """
    # A T5's table may have more rows than its tokenizer has tokens.
    text = {"vocab_size": vocab_size, **{k: v for k, v in text.items() if k != "folder"}}
    if text["vocab_size"] < vocab_size:
        raise UserError(
            f"text.vocab_size={text['vocab_size']}: data.tokenizer has {vocab_size} tokens; "
            "take the tokenizer of the same folder"
        )
    return registry.build(TEXT_TO_TEXT, text, "text", dtype=dtype)


def before(tokens: jax.Array) -> jax.Array:
    """What a decoder has read as it writes each of tokens int32 [B, L]: those before it."""
    return jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1]


def cross_entropy(logits: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How well logits [B, L, V] foresee tokens int32 [B, L], up to the first padding included.

    Returns:
      The mean cross-entropy in nats a token, and the share of texts of which every token is the
      likeliest, both float32. Of microbatches (`optimizer.accumulate`) it is the mean over the
      tokens of each, which is not quite the batch's where texts differ in length.
    """
    counts = (before(tokens) > 0).at[:, 0].set(True)
    errors = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), tokens)
    exact = ((logits.argmax(-1) == tokens) | ~counts).all(1)
    return jnp.average(errors, weights=counts.astype(jnp.float32)), exact.mean()
