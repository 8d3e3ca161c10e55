"""T5 (Raffel et al. 2020), v1.0 and v1.1: its encoder, and the whole with decoding."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vismem.models import decoding
from vismem.models.decoding import Decoding
from vismem.models.features import Features
from vismem.models.layers import Array, Dense, Embed, check_sizes
from vismem.models.transformer import Attention, FeedForward, RMSNorm, Stack, tied_logits


def buckets(count: int, max_distance: int) -> np.ndarray:
    """The bucket of each distance 0, 1, ...; the last is that of all beyond. Exact for the nearer
    half, then logarithmic up to max_distance.

    In float32 and in this order, because distances at the edge of a bucket are many. Where
    max_distance is below the exact half, the published formula goes down from there to bucket 0.
    """
    exact = count // 2
    distance = np.arange(max(max_distance, exact, 2 * exact**2 // max_distance) + 1)
    share = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    if max_distance != exact:  # where the formula has nothing for what is beyond
        share /= np.float32(math.log(max_distance / exact))
    wide = exact + (share * np.float32(count - exact)).astype(np.int32)
    return np.where(distance < exact, distance, np.clip(wide, 0, count - 1))


class PositionBias(nn.Module):
    """Places of queries [N] and keys [M] -> what the attention's logits gain, [1, H, N, M]."""

    heads: int
    buckets: int
    max_distance: int
    causal: bool

    @nn.compact
    def __call__(self, queries: Array, keys: Array) -> Array:
        ahead = keys[None, :] - queries[:, None]
        count = self.buckets if self.causal else self.buckets // 2
        table = jnp.asarray(buckets(count, self.max_distance))
        distance = jnp.maximum(-ahead, 0) if self.causal else jnp.abs(ahead)
        bucket = table[jnp.minimum(distance, len(table) - 1)]
        if not self.causal:  # the other half of the buckets is for what lies ahead
            bucket = bucket + jnp.where(ahead > 0, count, 0)
        bias = Embed(self.buckets, self.heads, name="table")(bucket)
        return bias.transpose(2, 0, 1)[None]


class T5Block(nn.Module):
    """Attention, in a decoder attention to the encoder's features, and a feed-forward layer, each
    with its norm before and a residual: [B, L, D] -> [B, L, D].
    """

    heads: int
    head_dim: int
    hidden: int
    activation: str
    gated: bool
    epsilon: float
    causal: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Array,
        mask: Array | None,
        bias: Array,
        context: Array | None,
        context_mask: Array | None,
        position: Array | None,
    ) -> Array:
        norm = partial(RMSNorm, self.epsilon)
        attention = partial(
            Attention,
            self.heads,
            qkv_bias=False,
            out_bias=False,
            head_dim=self.head_dim,
            scale=1.0,
            dtype=self.dtype,
        )
        x = x + attention(causal=self.causal, name="attention")(
            norm(name="norm_attention")(x), mask, bias=bias, position=position
        )
        if context is not None:
            x = x + attention(name="cross")(
                norm(name="norm_cross")(x), context_mask, context, position=position
            )
        mlp = FeedForward(
            self.hidden, self.activation, self.gated, use_bias=False, dtype=self.dtype, name="mlp"
        )
        return x + mlp(norm(name="norm_mlp")(x))


class T5Tower(nn.Module):
    """The encoder's or, if `causal`, the decoder's blocks on embedded tokens [B, L, D]."""

    layers: int
    heads: int
    head_dim: int
    hidden: int
    activation: str
    gated: bool
    buckets: int
    max_distance: int
    epsilon: float
    causal: bool = False
    scan: bool | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Array,
        mask: Array | None,
        context: Array | None = None,
        context_mask: Array | None = None,
        position: Array | None = None,
    ) -> Array:
        """See `Attention` for the arguments; with a position, `mask` says how many come in all."""
        keys = jnp.arange(x.shape[1] if position is None else mask.shape[1])
        queries = keys if position is None else position[None]
        bias = PositionBias(
            self.heads, self.buckets, self.max_distance, self.causal, name="positions"
        )(queries, keys)
        block = partial(
            T5Block,
            self.heads,
            self.head_dim,
            self.hidden,
            self.activation,
            self.gated,
            self.epsilon,
            self.causal,
            self.dtype,
        )
        scan = False if position is not None else self.scan  # a scan knows parameters only
        x = Stack(block, self.layers, scan, name="blocks")(
            x, mask, bias, context, context_mask, position
        )
        return RMSNorm(self.epsilon, name="norm")(x)


class T5Encoder(nn.Module):
    """Token ids -> features.

    Attributes:
      head_dim: width of a head; heads * head_dim need not be `width`.
      hidden: width of the feed-forward layers. gated: as in v1.1.
      buckets, max_distance: of the relative positions.
      scan: see `Stack`.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    head_dim: int
    hidden: int
    activation: str = "relu"
    gated: bool = False
    buckets: int = 32
    max_distance: int = 128
    epsilon: float = 1e-6
    scan: bool | None = None
    dtype: Any = jnp.float32

    def setup(self) -> None:
        check_sizes(self, "text", "width", "layers", "heads", "head_dim", "hidden")
        self.words = Embed(self.vocab_size, self.width, stddev=1.0, dtype=self.dtype)
        self.encoder = self.tower(self.layers)

    def tower(self, layers: int, causal: bool = False) -> T5Tower:
        return T5Tower(
            layers,
            self.heads,
            self.head_dim,
            self.hidden,
            self.activation,
            self.gated,
            self.buckets,
            self.max_distance,
            self.epsilon,
            causal,
            self.scan,
            self.dtype,
        )

    def __call__(self, ids: Array, mask: Array | None = None) -> Features:
        """ids int32 [B, L], mask bool [B, L] of the tokens that exist; `pooled` is their mean."""
        x = self.encoder(self.words(ids), mask)
        weights = jnp.ones(ids.shape) if mask is None else mask
        pooled = jnp.average(x, axis=1, weights=jnp.broadcast_to(weights[..., None], x.shape))
        return Features(x, pooled.astype(x.dtype), x[:, :0])


class T5(T5Encoder):
    """Encoder and decoder.

    Attributes:
      decoder_layers: of the decoder.
      tied: whether the words' table makes the logits too. rescaled: whether what it makes them of
        is divided by sqrt(D) (v1.0).
      start, end, pad: ids of the token before a text, those after it, and what fills its row.
    """

    decoder_layers: int = 6
    tied: bool = True
    rescaled: bool = True
    start: int = 0
    end: tuple[int, ...] = (1,)
    pad: int = 0

    def setup(self) -> None:
        super().setup()
        check_sizes(self, "text", "decoder_layers")
        self.decoder = self.tower(self.decoder_layers, causal=True)
        if not self.tied:
            self.head = Dense(self.vocab_size, ("embed", "vocab"), use_bias=False, dtype=self.dtype)

    def __call__(
        self,
        ids: Array,
        decoder_ids: Array,
        mask: Array | None = None,
        decoder_mask: Array | None = None,
    ) -> Array:
        """Logits [B, N, vocab_size] of the token after each of decoder_ids [B, N]."""
        return self.decode(decoder_ids, self.encode(ids, mask), mask, decoder_mask)

    def encode(self, ids: Array, mask: Array | None = None) -> Array:
        """Features [B, L, D]."""
        return self.encoder(self.words(ids), mask)

    def decode(
        self,
        ids: Array,
        features: Array,
        features_mask: Array | None = None,
        mask: Array | None = None,
        position: Array | None = None,
    ) -> Array:
        """Logits [B, N, vocab_size]; of one token at a time with a position, see `Attention`."""
        x = self.decoder(self.words(ids), mask, features, features_mask, position)
        x = x * self.width**-0.5 if self.rescaled else x
        if not self.tied:
            return self.head(x)
        return tied_logits(x, self.words)


def generate(
    module: T5,
    params: Any,
    ids: Array,
    mask: Array | None = None,
    *,
    length: int,
    temperature: float = 0.0,
    key: Array | None = None,
) -> Array:
    """Texts that the decoder makes; models/decoding.py says how.

    Args:
      ids: int32 [B, L]. mask: bool [B, L].
      length: tokens of a text at most, the one it starts with included.
      temperature: 0 takes the likeliest token; else a random one, by softmax(logits / temperature).
      key: random key, for a temperature above 0.

    Returns:
      int32 [B, length], filled up with `module.pad` after the end of a text.
    """
    features = module.apply({"params": params}, ids, mask, method="encode")
    start = jnp.full((len(ids), 1), module.start, jnp.int32)
    if length == 1:
        return start
    texts = decoding.generate(
        module,
        params,
        features,
        mask,
        Decoding(length - 1, temperature=temperature),
        key,
        start=module.start,
        end=module.end,
        pad=module.pad,
    )
    return jnp.concatenate([start, texts], axis=1)
