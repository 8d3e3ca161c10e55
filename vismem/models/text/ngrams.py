"""Hashed n-grams: words and short phrases without a vocabulary of them."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.layers import Array, Embed, LayerNorm, check_sizes


class HashedNgrams(nn.Module):
    """Token ids int32 [B, L] (0 is padding, at the end) -> features [B, L, width] and mask bool
    [B, L].

    A token's feature is the normalised sum of the vectors of the n-grams, n = 1..longest, that end
    at it; an n-gram's vector is found in a table by its hash (Joulin et al. 2017, "Bag of tricks
    for efficient text classification"). N-grams that share a row are told apart by their parts.
    """

    width: int = 128
    longest: int = 3
    buckets: int = 16_384
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        check_sizes(self, "text", "width", "longest", "buckets")
        embed = Embed(self.buckets, self.width, stddev=1.0, dtype=self.dtype, name="embed")
        hashes = jnp.zeros(tokens.shape, jnp.uint32)
        x = 0
        for n in range(self.longest):
            # Token i - n joins the n-gram that ends at i, if the text has begun by then.
            hashes = mix(hashes * jnp.uint32(31) + shifted(tokens, n).astype(jnp.uint32))
            begun = jnp.arange(tokens.shape[1]) >= n
            x += jnp.where(begun[:, None], embed((hashes % self.buckets).astype(jnp.int32)), 0)
        return LayerNorm(name="norm")(x), tokens > 0


def shifted(tokens: Array, n: int) -> Array:
    """[B, L] with each row moved n places to the right, zeros in front."""
    return jnp.pad(tokens, ((0, 0), (n, 0)))[:, : tokens.shape[1]]


def mix(x: Array) -> Array:
    """A bijection of uint32 in which every bit moves about half of the others (MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
