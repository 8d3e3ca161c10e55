"""The transformer encoder of BERT, GPT-2, CLIP, SigLIP, ViT and DINOv2: one block with options.

Shapes: B batch, L tokens, D width. Parameters are float32; products run in `dtype`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.layers import Array, Dense, LayerNorm
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


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017): [B, L, D] -> [B, L, D].

    `mask` is bool [B, L], the tokens that exist. A `causal` token sees none after it.
    """

    heads: int
    causal: bool = False
    qkv_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None) -> Array:
        width = x.shape[-1]
        if width % self.heads:
            raise UserError(f"heads={self.heads}: does not divide the width {width}")

        def project(name: str) -> Array:
            dense = Dense(width, ("embed", "heads"), self.qkv_bias, dtype=self.dtype, name=name)
            return dense(x).reshape(*x.shape[:-1], self.heads, -1)

        mixed = jax.nn.dot_product_attention(
            project("query"),
            project("key"),
            project("value"),
            mask=None if mask is None else mask[:, None, None, :],
            is_causal=self.causal,
            implementation="xla",
        )
        return Dense(width, ("heads", "embed"), dtype=self.dtype, name="out")(
            mixed.reshape(x.shape)
        )


class FeedForward(nn.Module):
    """[..., D] -> [..., hidden] -> [..., D]; `gated` is act(gate(x)) * up(x) (Shazeer 2020)."""

    hidden: int
    activation: str = "gelu"
    gated: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        dense = partial(Dense, self.hidden, ("embed", "mlp"), dtype=self.dtype)
        act = activation(self.activation)
        if self.gated:
            h = act(dense(name="gate")(x)) * dense(name="up")(x)
        else:
            h = act(dense(name="up")(x))
        return Dense(x.shape[-1], ("mlp", "embed"), dtype=self.dtype, name="down")(h)


class Block(nn.Module):
    """Attention and a feed-forward layer, each with its norm and residual: [B, L, D] -> [B, L, D].

    Attributes:
      heads: of the attention. hidden: width of the feed-forward layer.
      activation: a name in ACTIVATIONS. gated: see FeedForward.
      post_norm: norms after the residual sums (BERT), not before attention and feed-forward.
      causal, qkv_bias: see SelfAttention.
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
        attention = SelfAttention(
            self.heads, self.causal, self.qkv_bias, dtype=self.dtype, name="attention"
        )
        mlp = FeedForward(self.hidden, self.activation, self.gated, self.dtype, name="mlp")
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
      scan: one compiled block in a `lax.scan` instead of `layers` of them; None for yes on
        accelerators, no on the CPU, where the scan costs a third more time. Parameters are named
        `block_0`, `block_1`, ... either way, and stacked as the scan begins: a copy that is small
        against the products, while freezing, adapters and checkpoints see one layout.
    """

    block: Callable[..., nn.Module]
    layers: int
    scan: bool | None = None

    @nn.compact
    def __call__(self, x: Array, *args: Any) -> Array:
        scan = jax.default_backend() != "cpu" if self.scan is None else self.scan
        if not scan or self.layers < 2 or self.is_initializing():
            for i in range(self.layers):
                x = self.block(name=f"block_{i}")(x, *args)
            return x
        params = [self.variables["params"][f"block_{i}"] for i in range(self.layers)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        block = self.block(parent=None)

        def layer(x: Array, params: Any) -> tuple[Array, None]:
            return block.apply({"params": params}, x, *args), None

        return jax.lax.scan(layer, x, stacked)[0]
