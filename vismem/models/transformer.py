"""The parts of the transformers that pretrained weights fill, and the block of BERT, GPT-2, CLIP,
SigLIP, ViT and DINOv2.

Shapes: B batch, L tokens, D width, H heads, M keys. Parameters are float32; products run in
`dtype`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.layers import KERNEL, Array, Dense, LayerNorm, scan_blocks, scans
from vismem.registry import nearest

# By the names that config.json files give them.
ACTIVATIONS = {
    "gelu": partial(nn.gelu, approximate=False),
    "gelu_new": nn.gelu,
    "gelu_pytorch_tanh": nn.gelu,
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "relu": nn.relu,
    "silu": nn.silu,
    "swish": nn.silu,
    "tanh": nn.tanh,
}


def activation(name: str) -> Callable[[Array], Array]:
    """The activation of that name."""
    if name not in ACTIVATIONS:
        raise UserError(f"activation: unknown name {name!r}; {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


class RMSNorm(nn.Module):
    """Division by the root mean square of the last axis, and a scale (Zhang and Sennrich 2019)."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = nn.with_logical_partitioning(nn.initializers.ones, ("norm",))
        scale = self.param("scale", init, x.shape[-1:]).astype(x.dtype)
        y = x.astype(jnp.float32)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.epsilon)
        return y.astype(x.dtype) * scale


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017): [B, L, D] -> [B, L, D].

    Attributes:
      heads: of queries. kv_heads: of keys and values, each shared by a group of heads (Ainslie et
        al. 2023); as many by default. head_dim: D / heads by default.
      causal: a token sees none after it; with a window, only that many up to itself.
      qkv_bias, out_bias: whether these layers have a bias.
      scale: of the logits; head_dim ** -0.5 by default. With another, queries begin smaller or
        larger by as much (T5 has a scale of 1).
    """

    heads: int
    causal: bool = False
    qkv_bias: bool = True
    out_bias: bool = True
    kv_heads: int | None = None
    head_dim: int | None = None
    scale: float | None = None
    window: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Array,
        mask: Array | None = None,
        context: Array | None = None,
        bias: Array | None = None,
        rotation: tuple[Array, Array] | None = None,
        position: Array | None = None,
    ) -> Array:
        """Attends from x to x or, given one, to a context [B, M, D].

        Args:
          mask: bool [B, M], the keys that exist.
          bias: added to the logits, broadcastable to [B, H, L, M].
          rotation: see `rotate`.
          position: of the one token in x (L = 1), when a text is made token by token: keys and
            values are then kept in the collection "cache", M of them as `mask` has.
        """
        width = x.shape[-1]
        if self.heads < 1 or (not self.head_dim and width % self.heads):
            raise UserError(f"heads={self.heads}: does not divide the width {width}")
        size = self.head_dim or width // self.heads
        if self.heads % (self.kv_heads or self.heads):
            raise UserError(f"heads={self.heads}: not a multiple of kv_heads={self.kv_heads}")

        factor = 1.0 if self.scale is None else 1 / (size * self.scale**2)
        query_init = nn.initializers.variance_scaling(factor, "fan_avg", "uniform")

        def project(name: str, y: Array, heads: int) -> Array:
            axes, init = ("embed", "heads"), query_init if name == "query" else KERNEL
            dense = Dense(heads * size, axes, self.qkv_bias, init, dtype=self.dtype, name=name)
            y = dense(y).reshape(*y.shape[:-1], heads, size)
            return y if rotation is None or name == "value" else rotate(y, *rotation)

        def keys_values() -> tuple[Array, Array]:
            y, heads = x if context is None else context, self.kv_heads or self.heads
            return project("key", y, heads), project("value", y, heads)

        if position is None:
            key, value = keys_values()
        elif context is None:
            new = keys_values()
            room = (len(x), mask.shape[-1], *new[0].shape[2:])
            cache = self.variable("cache", "tokens", lambda: (jnp.zeros(room, self.dtype),) * 2)
            cache.value = tuple(
                jax.lax.dynamic_update_slice_in_dim(old, one, position, axis=1)
                for old, one in zip(cache.value, new)
            )
            key, value = cache.value
        else:  # the context stays as it is: its keys and values are made once
            key, value = self.variable("cache", "context", keys_values).value
        mixed = jax.nn.dot_product_attention(
            project("query", x, self.heads),
            key,
            value,
            bias,
            None if mask is None else mask[:, None, None, :],
            scale=self.scale,
            is_causal=self.causal and position is None,
            local_window_size=(self.window - 1, 0) if self.window else None,
            implementation="xla",
        )
        out = Dense(width, ("heads", "embed"), self.out_bias, dtype=self.dtype, name="out")
        return out(mixed.reshape(*x.shape[:-1], -1))


def tied_logits(x: Array, words: nn.Module) -> Array:
    """[B, L, D] -> [B, L, vocab_size]: products with the rows of an `Embed` that was called."""
    table = nn.unbox(words.variables["params"]["embedding"])
    return x @ table.T.astype(x.dtype)


def last_token(x: Array, mask: Array | None = None) -> Array:
    """The last that exists of tokens [B, L, D], given bool [B, L]: [B, D]."""
    if mask is None:
        return x[:, -1]
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    return jnp.take_along_axis(x, last[:, None, None], axis=1)[:, 0]


def rotate(x: Array, cosines: Array, sines: Array) -> Array:
    """Rotary positions (Su et al. 2021): turns feature pairs (i, i + d/2) of [B, L, H, d].

    Args:
      cosines, sines: of each place's angles, [L, d/2].
    """
    cos, sin = (r[:, None].astype(x.dtype) for r in (cosines, sines))
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class FeedForward(nn.Module):
    """[..., D] -> [..., hidden] -> [..., D]; `gated` is act(gate(x)) * up(x) (Shazeer 2020)."""

    hidden: int
    activation: str = "gelu"
    gated: bool = False
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        dense = partial(
            Dense, self.hidden, ("embed", "mlp"), use_bias=self.use_bias, dtype=self.dtype
        )
        act = activation(self.activation)
        if self.gated:
            h = act(dense(name="gate")(x)) * dense(name="up")(x)
        else:
            h = act(dense(name="up")(x))
        down = Dense(x.shape[-1], ("mlp", "embed"), self.use_bias, dtype=self.dtype, name="down")
        return down(h)


class Block(nn.Module):
    """Attention and a feed-forward layer, each with its norm and residual: [B, L, D] -> [B, L, D].

    Attributes:
      heads: of the attention. hidden: width of the feed-forward layer.
      activation: a name in ACTIVATIONS. gated: see FeedForward.
      post_norm: norms after the residual sums (BERT), not before attention and feed-forward.
      causal, qkv_bias: see Attention.
      layer_scale: first value of a factor a channel on both branches (Touvron et al. 2021); 0 for
        no such factors.
      epsilon: of the norms.
    """

    heads: int
    hidden: int
    activation: str = "gelu"
    gated: bool = False
    post_norm: bool = False
    causal: bool = False
    qkv_bias: bool = True
    layer_scale: float = 0.0
    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None) -> Array:
        attention = Attention(
            self.heads, self.causal, self.qkv_bias, dtype=self.dtype, name="attention"
        )
        mlp = FeedForward(self.hidden, self.activation, self.gated, dtype=self.dtype, name="mlp")
        for name, branch in (("attention", lambda h: attention(h, mask)), ("mlp", mlp)):
            norm = LayerNorm(self.epsilon, name=f"norm_{name}")
            if self.post_norm:
                x = norm(x + self.scaled(name, branch(x)))
            else:
                x = x + self.scaled(name, branch(norm(x)))
        return x

    def scaled(self, name: str, x: Array) -> Array:
        if not self.layer_scale:
            return x
        init = nn.with_logical_partitioning(nn.initializers.constant(self.layer_scale), ("norm",))
        return x * self.param(f"scale_{name}", init, x.shape[-1:]).astype(x.dtype)


class Stack(nn.Module):
    """Blocks of one kind, one after the other: [B, L, D] -> [B, L, D].

    Attributes:
      block: makes one, e.g. `partial(Block, heads=12, hidden=3072)`.
      layers: how many.
      scan: whether they run as a scan; see `scans`. Parameters are named `block_0`, `block_1`, ...
        either way.
    """

    block: Callable[..., nn.Module]
    layers: int
    scan: bool | None = None

    @nn.compact
    def __call__(self, x: Array, *args: Any) -> Array:
        if not scans(self.scan) or self.layers < 2 or self.is_initializing():
            for i in range(self.layers):
                x = self.block(name=f"block_{i}")(x, *args)
            return x
        return scan_blocks(self.block(parent=None), self.variables["params"], x, *args)
