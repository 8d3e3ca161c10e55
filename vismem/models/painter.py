"""The painter: Y_{t+1} = paint(X_t, C, S_t), a transformer over [patches; slots; text]."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.models.layers import (
    STACKED,
    Array,
    Dense,
    RelativeBias,
    normalize,
    scans,
    split_heads,
    stack_blocks,
)

ZEROS = nn.initializers.zeros
# What a block keeps for its backward pass: all of it, the products with its parameters, or nothing
# but what enters it.
REMAT = {
    "none": jax.checkpoint_policies.everything_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


class PainterBlock(nn.Module):
    """A transformer block with adaptive layer norm (adaLN-zero; Peebles & Xie 2023).

    Patches and slots ask, change and answer; text tokens only answer: their keys and values depend
    on nothing that changes from step to step, and are computed once a drawing. Slots are attended
    to by a softmax of their own whose share is a gate a head, zero at first: adding slots to a
    fresh painter changes nothing.
    """

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Array, slots: int, text: tuple[Array, Array], mask: Array, condition: Array
    ) -> Array:
        """One block.

        Args:
          x: tokens [B, P + K, D], the last K = `slots` of them memory's.
          slots: K.
          text: keys and values of the text, each [B, N, H, D / H]; mask: bool [B, N].
          condition: [B, D].
        """
        width = x.shape[-1]
        modulation = Dense(
            6 * width, ("embed", None), kernel_init=ZEROS, dtype=self.dtype, name="modulation"
        )(nn.silu(condition))
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = jnp.split(
            modulation[:, None], 6, axis=-1
        )
        h = normalize(x) * (1 + scale_a) + shift_a
        x = x + gate_a * self.attention(h, slots, text, mask)
        h = normalize(x) * (1 + scale_m) + shift_m
        h = Dense(4 * width, ("embed", "mlp"), dtype=self.dtype, name="up")(h)
        h = Dense(width, ("mlp", "embed"), dtype=self.dtype, name="down")(nn.gelu(h))
        return x + gate_m * h

    def attention(self, x: Array, slots: int, text: tuple[Array, Array], mask: Array) -> Array:
        width, patches = x.shape[-1], x.shape[1] - slots
        qkv = Dense(3 * width, ("embed", "heads"), dtype=self.dtype, name="qkv")(x)
        q, k, v = split_heads(qkv, self.heads, 3)
        # Queries and keys are normalised (Henry et al. 2020), so that attention neither saturates
        # nor starts out blind, whatever the learning rate.
        gain_init = nn.with_logical_partitioning(nn.initializers.ones, (None, None))
        q = normalize(q) * self.param("query_gain", gain_init, q.shape[2:]).astype(q.dtype)
        k = jnp.concatenate([text[0], normalize(k)], axis=1)
        v = jnp.concatenate([text[1], v], axis=1)
        logits = jnp.einsum("bnhd,bmhd->bhnm", q, k) * q.shape[-1] ** -0.5
        near = RelativeBias(self.heads, name="relative")(patches)
        before = k.shape[1] - x.shape[1]
        logits = logits.astype(jnp.float32) + jnp.pad(near, ((0, 0), (0, slots), (before, slots)))
        exists = jnp.pad(mask, ((0, 0), (0, x.shape[1])), constant_values=True)
        logits = jnp.where(exists[:, None, None, :], logits, -1e9)
        weights = jax.nn.softmax(logits[..., : logits.shape[-1] - slots], axis=-1)
        if slots:
            gate_init = nn.with_logical_partitioning(ZEROS, (None,))
            gate = self.param("slot_gate", gate_init, (self.heads,))[:, None, None]
            remembered = jax.nn.softmax(logits[..., -slots:], axis=-1)
            weights = jnp.concatenate([weights, gate * remembered], axis=-1)
        mixed = jnp.einsum("bhnm,bmhd->bnhd", weights.astype(self.dtype), v)
        return Dense(width, ("heads", "embed"), dtype=self.dtype, name="out")(
            mixed.reshape(x.shape)
        )


class Painter(nn.Module):
    """Patches, slots and text to the network's output for every patch.

    Attributes:
      width, layers, heads: of the transformer.
      outputs: numbers a patch, patch * patch * channels. pixels: patch * patch.
      palette: colours that each patch mixes, pixel by pixel, beside what a linear layer gives; see
        `_mixed`.
      scan: whether its blocks run as a scan; see `layers.scans`.
      remat: what a block keeps for its backward pass, by name in `REMAT`; the rest is computed
        again.
    """

    width: int
    layers: int
    heads: int
    outputs: int
    pixels: int
    palette: int = 0
    scan: bool | None = None
    remat: str = "none"
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.text_key_value = Dense(
            2 * self.layers * self.width, ("embed", "heads"), dtype=self.dtype
        )
        self.blocks = [
            PainterBlock(self.heads, dtype=self.dtype, name=f"block_{i}")
            for i in range(self.layers)
        ]
        self.modulation = Dense(
            2 * self.width, ("embed", None), kernel_init=ZEROS, dtype=self.dtype
        )
        self.output = Dense(self.outputs, ("embed", None), kernel_init=ZEROS)
        self.copy = Dense(self.pixels, ("embed", None), kernel_init=ZEROS)
        if self.palette:
            colors = self.palette * self.outputs // self.pixels
            self.shares = Dense(self.palette * self.pixels, ("embed", None))
            self.colors = Dense(colors, ("embed", None), kernel_init=ZEROS)

    def read_text(self, text: Array) -> tuple[Array, Array]:
        """Keys and values of text tokens [B, N, D] for all blocks, [B, N, layers, H, D / H]."""
        shape = (*text.shape[:2], self.layers, 2, self.heads, self.width // self.heads)
        key, value = jnp.unstack(self.text_key_value(text).reshape(shape), axis=3)
        return normalize(key), value

    def __call__(
        self,
        patches: Array,
        slots: Array,
        text: tuple[Array, Array],
        mask: Array,
        condition: Array,
        copies: bool = False,
    ) -> tuple[Array, Array | None, Array]:
        """One pass.

        Args:
          patches: [B, P, D]. slots: [B, K, D], K = 0 without memory.
          text: what `read_text` gave, with mask bool [B, N].
          condition: [B, D], of time, strategy, and what fusion folds into it.
          copies: whether there is a picture to copy from.

        Returns:
          outputs [B, P, outputs] in float32; the share of each pixel that is to be copied, [B, P,
          pixels] in [0, 1], if there is something to copy; and what became of the slots, [B, K, D].
        """
        count = patches.shape[1]
        x = jnp.concatenate([patches, slots], axis=1)
        if self.is_initializing():
            for block, key_value in zip(self.blocks, by_layer(text)):
                x = block(x, slots.shape[1], key_value, mask, condition)
        else:
            x = self._run(x, slots.shape[1], text, mask, condition)
        shift, scale = jnp.split(self.modulation(nn.silu(condition))[:, None], 2, axis=-1)
        painted = normalize(x[:, :count]) * (1 + scale) + shift
        copied = jax.nn.sigmoid(self.copy(painted)) if copies else None
        output = self.output(painted)
        if self.palette:
            output = output + self._mixed(painted)
        return output, copied, x[:, count:]

    def _mixed(self, painted: Array) -> Array:
        """Patches [B, P, D] as a few colours each and how much of which a pixel has, [B, P,
        outputs].

        What a patch shows is a product, of the shape of things with their colours. A linear layer
        has to have learned each of these products; here any shape takes any colour, as in layered
        decoders (the mixtures of Locatello et al. 2020, "Object-centric learning with slot
        attention", with a patch's colours for objects).
        """
        patches = painted.shape[:2]
        shares = self.shares(painted).reshape(*patches, self.pixels, self.palette)
        colors = self.colors(painted).reshape(*patches, self.palette, -1)
        mixed = jnp.einsum("bpnk,bpkc->bpnc", jax.nn.softmax(shares, axis=-1), colors)
        return mixed.reshape(*patches, -1)

    def _run(
        self, x: Array, slots: int, text: tuple[Array, Array], mask: Array, condition: Array
    ) -> Array:
        """The blocks one after the other."""
        block = PainterBlock(self.heads, dtype=self.dtype, parent=None)

        def layer(x: Array, own: tuple[Any, Any]) -> tuple[Array, None]:
            params, text = own
            return block.apply({"params": params}, x, slots, text, mask, condition), None

        if self.remat != "none":
            layer = jax.checkpoint(layer, policy=REMAT[self.remat])
        params = self.variables["params"]
        if scans(self.scan):
            params = params if STACKED in params else stack_blocks(params)
            text = jax.tree.map(lambda t: jnp.moveaxis(t, 2, 0), text)
            return jax.lax.scan(layer, x, (params[STACKED], text))[0]
        for i, own_text in enumerate(by_layer(text)):
            x, _ = layer(x, (params[f"block_{i}"], own_text))
        return x


def by_layer(text: tuple[Array, Array]) -> Iterator[tuple[Array, Array]]:
    """Keys and values for each block, [B, N, H, D / H]."""
    return zip(*(jnp.unstack(t, axis=2) for t in text))
