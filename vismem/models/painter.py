"""The painter: Y_{t+1} = paint(X_t, C, S_t), a transformer over [patches; text; slots]."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.models.layers import MLP, Array, Dense, normalize, split_heads

ZEROS = nn.initializers.zeros


class PainterBlock(nn.Module):
    """A transformer block with adaptive layer norm (adaLN-zero; Peebles & Xie 2023).

    The last `slots` tokens are memory's. They are attended to by a softmax of their own whose share is
    a gate a head, zero at first: adding slots to a fresh painter changes nothing.
    """

    heads: int
    slots: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, condition: Array) -> Array:
        """Tokens [B, N, D], mask bool [B, N], condition [B, D] -> tokens [B, N, D]."""
        width = x.shape[-1]
        modulation = Dense(
            6 * width, ("embed", None), kernel_init=ZEROS, dtype=self.dtype, name="modulation"
        )(nn.silu(condition))
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = jnp.split(
            modulation[:, None], 6, axis=-1
        )
        h = normalize(x) * (1 + scale_a) + shift_a
        x = x + gate_a * self.attention(h, mask)
        h = normalize(x) * (1 + scale_m) + shift_m
        return x + gate_m * MLP(4 * width, dtype=self.dtype, name="mlp")(h)

    def attention(self, x: Array, mask: Array) -> Array:
        width = x.shape[-1]
        qkv = Dense(3 * width, ("embed", "heads"), dtype=self.dtype, name="qkv")(x)
        q, k, v = split_heads(qkv, self.heads, 3)
        logits = jnp.einsum("bnhd,bmhd->bhnm", q, k) * q.shape[-1] ** -0.5
        logits = logits.astype(jnp.float32)
        logits = jnp.where(mask[:, None, None, :], logits, -1e9)
        own = jax.nn.softmax(logits[..., : logits.shape[-1] - self.slots], axis=-1)
        if self.slots:
            gate_init = nn.with_logical_partitioning(ZEROS, (None,))
            gate = self.param("slot_gate", gate_init, (self.heads,))[:, None, None]
            remembered = jax.nn.softmax(logits[..., -self.slots :], axis=-1)
            own = jnp.concatenate([own, gate * remembered], axis=-1)
        mixed = jnp.einsum("bhnm,bmhd->bnhd", own.astype(self.dtype), v)
        return Dense(width, ("heads", "embed"), dtype=self.dtype, name="out")(
            mixed.reshape(x.shape)
        )


class Painter(nn.Module):
    """Patches, text and slots to the network's output for every patch.

    Attributes:
      layers, heads: of the transformer; its width is the patches'.
      slots: K, how many slots come along; 0 without memory.
      outputs: numbers a patch, patch * patch * channels.
    """

    layers: int
    heads: int
    slots: int
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, patches: Array, text: Array, mask: Array, slots: Array, condition: Array
    ) -> tuple[Array, Array]:
        """One pass.

        Args:
          patches: [B, P, D]. text: [B, N, D] with mask bool [B, N]. slots: [B, K, D].
          condition: [B, D], of time, text and strategy.

        Returns:
          outputs [B, P, outputs] in float32, and what became of the slots, [B, K, D].
        """
        batch, count, width = patches.shape
        x = jnp.concatenate([patches, text, slots], axis=1)
        exists = [jnp.ones((batch, count), bool), mask, jnp.ones((batch, self.slots), bool)]
        mask = jnp.concatenate(exists, axis=1)
        for i in range(self.layers):
            block = PainterBlock(self.heads, self.slots, dtype=self.dtype, name=f"block_{i}")
            x = block(x, mask, condition)
        modulation = Dense(
            2 * width, ("embed", None), kernel_init=ZEROS, dtype=self.dtype, name="modulation"
        )(nn.silu(condition))
        shift, scale = jnp.split(modulation[:, None], 2, axis=-1)
        h = normalize(x[:, :count]) * (1 + scale) + shift
        output = Dense(self.outputs, ("embed", None), kernel_init=ZEROS, name="output")(h)
        return output, x[:, x.shape[1] - self.slots :]
