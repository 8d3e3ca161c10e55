"""Texts made token by token: the likeliest ones, random ones, or the best of a beam."""

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.layers import Array


@dataclass(frozen=True)
class Decoding:
    """How texts are made.

    Attributes:
      length: tokens of a text at most, the one that ends it included.
      beams: texts that are extended side by side, of which the best is taken; 1 is greedy.
      length_penalty: a text in a beam is ranked by its log probability divided by
        ((5 + tokens) / 6) ** length_penalty (Wu et al. 2016); above 0 favours longer texts.
      temperature: 0 takes the likeliest tokens; else random ones, by softmax(logits / temperature).
      top_p: random tokens are among the likeliest that have this probability together (nucleus
        sampling, Holtzman et al. 2020).
    """

    length: int
    beams: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self):
        for key in ("length", "beams"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}={getattr(self, key)}: must be at least 1")
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"temperature={self.temperature}: must be a number of 0 or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p}: must be above 0 and at most 1")
        if self.beams > 1 and self.temperature:
            raise UserError(f"beams={self.beams}: a beam is not random; leave temperature at 0")
        if self.top_p < 1 and not self.temperature:
            raise UserError(f"top_p={self.top_p}: needs a temperature above 0")


def generate(
    module: nn.Module,
    params: Any,
    features: Array,
    mask: Array | None,
    decoding: Decoding,
    key: Array | None = None,
    *,
    start: int = 0,
    end: tuple[int, ...] = (0,),
    pad: int = 0,
) -> Array:
    """Texts that a decoder makes of features, in one `lax.while_loop`.

    Args:
      module: has `decode(ids, features, features_mask, mask, position) -> logits` with a cache, as
        models/text/t5.py's T5 has it; of `params`.
      features: [B, M, D]. mask: bool [B, M], those that exist.
      key: random key, for a temperature above 0.
      start: the token before every text. end: tokens that end one. pad: fills up the rows.

    Returns:
      int32 [B, decoding.length].
    """
    rows, beams, length = len(features), decoding.beams, decoding.length
    features = jnp.repeat(features, beams, axis=0)
    mask = None if mask is None else jnp.repeat(mask, beams, axis=0)
    places = jnp.arange(length)[None]

    def extend(
        position: Array, tokens: Array, scores: Array, made: Array, done: Array, cache: Any
    ) -> tuple:
        """Tokens [B, K, 1 + length] with one more each; scores are log probabilities [B, K], and
        `made` counts tokens, [B, K]."""
        last = jax.lax.dynamic_slice_in_dim(tokens, position, 1, axis=2).reshape(-1, 1)
        logits, cache = module.apply(
            {"params": params, **cache},
            last,
            features,
            mask,
            places <= position,
            position,
            method="decode",
            mutable=["cache"],
        )
        logits = logits.astype(jnp.float32).reshape(rows, beams, -1)
        words = logits.shape[-1]
        # A text that has ended goes on with padding, at no cost.
        padding = jnp.where(jnp.arange(words) == pad, 0.0, -jnp.inf)
        total = scores[..., None] + jnp.where(done[..., None], padding, jax.nn.log_softmax(logits))
        made = jnp.where(done, made, position + 1)
        if decoding.temperature:
            scaled = jnp.where(done[..., None], padding, logits / decoding.temperature)
            folded = jax.random.fold_in(key, position)
            choice = jax.random.categorical(folded, nucleus(scaled, decoding.top_p))
        else:
            rank = total / ((5 + made[..., None]) / 6) ** decoding.length_penalty
            choice = jax.lax.top_k(rank.reshape(rows, -1), beams)[1]
        beam, token = jnp.divmod(choice, words)
        scores = jnp.take_along_axis(total.reshape(rows, -1), choice, axis=1)
        if beams > 1:  # each text goes on from the one it extends
            tokens, made, done = (
                jnp.take_along_axis(x, beam.reshape(rows, beams, *[1] * (x.ndim - 2)), axis=1)
                for x in (tokens, made, done)
            )
            source = (jnp.arange(rows)[:, None] * beams + beam).reshape(-1)
            cache = jax.tree.map(lambda x: x[source], cache)
        new = token.astype(jnp.int32)
        tokens = jax.lax.dynamic_update_slice_in_dim(tokens, new[..., None], position + 1, axis=2)
        return position + 1, tokens, scores, made, done | jnp.isin(new, jnp.array(end)), cache

    tokens = jnp.full((rows, beams, 1 + length), pad, jnp.int32).at[..., 0].set(start)
    # All texts of a beam begin alike: only the first of them is extended.
    scores = jnp.broadcast_to(jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf), (rows, beams))
    none = jnp.zeros((rows, beams), bool)
    first = extend(jnp.int32(0), tokens, scores, none.astype(jnp.int32), none, {})
    tokens = jax.lax.while_loop(  # `first` has the cache in it
        lambda carry: (carry[0] < length) & ~carry[4].all(),
        lambda carry: extend(*carry),
        first,
    )[1]
    return tokens[:, 0, 1:]  # the best of a beam comes first


def nucleus(logits: Array, top_p: float) -> Array:
    """Logits [..., V] with -inf for all but the likeliest tokens that have `top_p` together."""
    ordered = -jnp.sort(-logits, axis=-1)
    probability = jax.nn.softmax(ordered, axis=-1)
    kept = jnp.cumsum(probability, axis=-1) - probability < top_p  # always the likeliest
    least = jnp.where(kept, ordered, jnp.inf).min(-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)
