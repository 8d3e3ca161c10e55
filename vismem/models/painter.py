"""The painter: Y_{t+1} = paint(X_t, C, S_t), a transformer over [patches; slots; text].

It is causal where patches are drawn one by one in row order: then a patch sees those up to itself,
the slots and the text, and slots see slots and text. Keys and values of all these stay as they are
while later patches are drawn, and are kept for those.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem.models.layers import (
    STACKED,
    Array,
    Dense,
    RelativeBias,
    merge_heads,
    normalize,
    scans,
    split_heads,
    stack_blocks,
)

ZEROS = nn.initializers.zeros
KeyValues = tuple[Array, Array]
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
        self,
        x: Array,
        counts: tuple[int, int],
        known: KeyValues,
        mask: Array,
        condition: Array,
        place: Array | None = None,
    ) -> tuple[Array, KeyValues]:
        """One block.

        Args:
          x: tokens [B, P + K, D], the last K of them memory's slots.
          counts: P and K.
          known: keys and values of the text, each [B, H, N, D / H].
          mask: bool [B, 1 or P + K, N + P + K], which of [text; patches; slots] all tokens see, or
            each.
          condition: [B, D].
          place: of the one patch in x [B, 1, D], from 0, when patches are drawn one by one: `known`
            is then what the call before gave, and mask bool [B, 1, N + P + K].

        Returns:
          What becomes of x, and keys and values of [text; patches; slots].
        """
        width = x.shape[-1]
        modulation = Dense(
            6 * width, ("embed", None), kernel_init=ZEROS, dtype=self.dtype, name="modulation"
        )(nn.silu(condition))
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = jnp.split(
            modulation[:, None], 6, axis=-1
        )
        h = normalize(x) * (1 + scale_a) + shift_a
        mixed, known = self.attention(h, counts, known, mask, place)
        x = x + gate_a * mixed
        h = normalize(x) * (1 + scale_m) + shift_m
        h = Dense(4 * width, ("embed", "mlp"), dtype=self.dtype, name="up")(h)
        h = Dense(width, ("mlp", "embed"), dtype=self.dtype, name="down")(nn.gelu(h))
        return x + gate_m * h, known

    def attention(
        self,
        x: Array,
        counts: tuple[int, int],
        known: KeyValues,
        mask: Array,
        place: Array | None,
    ) -> tuple[Array, KeyValues]:
        width, (patches, slots) = x.shape[-1], counts
        qkv = Dense(3 * width, ("embed", "heads"), dtype=self.dtype, name="qkv")(x)
        q, k, v = split_heads(qkv, self.heads, 3)
        # Queries and keys are normalised (Henry et al. 2020), so that attention neither saturates
        # nor starts out blind, whatever the learning rate.
        gain_init = nn.with_logical_partitioning(nn.initializers.ones, (None, None))
        gain = self.param("query_gain", gain_init, (self.heads, q.shape[-1]))
        q = normalize(q) * gain[:, None].astype(q.dtype)
        new, before = (normalize(k), v), mask.shape[-1] - patches - slots
        near = RelativeBias(self.heads, name="relative")(patches, place)
        if place is None:
            k, v = known = tuple(jnp.concatenate(pair, axis=2) for pair in zip(known, new))
            near = jnp.pad(near, ((0, 0), (0, slots), (0, 0)))
        else:
            k, v = known = tuple(
                jax.lax.dynamic_update_slice_in_dim(old, one, before + place, axis=2)
                for old, one in zip(known, new)
            )
        logits = jnp.einsum("bhnd,bhmd->bhnm", q, k) * q.shape[-1] ** -0.5
        logits = logits.astype(jnp.float32) + jnp.pad(near, ((0, 0), (0, 0), (before, slots)))
        logits = jnp.where(mask[:, None], logits, -1e9)
        weights = jax.nn.softmax(logits[..., : logits.shape[-1] - slots], axis=-1)
        if mask.shape[1] > 1:  # of a token that may see none of these, the weights are no softmax
            weights = jnp.where(mask[:, None, :, : weights.shape[-1]], weights, 0)
        if slots:
            gate_init = nn.with_logical_partitioning(ZEROS, (None,))
            gate = self.param("slot_gate", gate_init, (self.heads,))[:, None, None]
            remembered = jax.nn.softmax(logits[..., -slots:], axis=-1)
            weights = jnp.concatenate([weights, gate * remembered], axis=-1)
        mixed = jnp.einsum("bhnm,bhmd->bhnd", weights.astype(self.dtype), v)
        out = Dense(width, ("heads", "embed"), dtype=self.dtype, name="out")
        return out(merge_heads(mixed)), known


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
      causal: whether patches see those up to themselves only, and slots none.
    """

    width: int
    layers: int
    heads: int
    outputs: int
    pixels: int
    palette: int = 0
    scan: bool | None = None
    remat: str = "none"
    causal: bool = False
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

    def read_text(self, text: Array) -> KeyValues:
        """Keys and values of text tokens [B, N, D] for all blocks, [B, layers, H, N, D / H]."""
        shape = (*text.shape[:2], self.layers, 2, self.heads, self.width // self.heads)
        both = self.text_key_value(text).reshape(shape).transpose(3, 0, 2, 4, 1, 5)
        key, value = jnp.unstack(both)
        return normalize(key), value

    def __call__(
        self,
        patches: Array,
        slots: Array,
        text: KeyValues,
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
        x, count = jnp.concatenate([patches, slots], axis=1), patches.shape[1]
        given = ((count, slots.shape[1]), text, self._seen(mask, count, slots.shape[1]), condition)
        x = self._once(x, *given)[0] if self.is_initializing() else self._run(x, *given)
        painted = self._modulated(x[:, :count], condition)
        copied = jax.nn.sigmoid(self.copy(painted)) if copies else None
        return self._shown(painted), copied, x[:, count:]

    def read(
        self, patches: Array, slots: Array, text: KeyValues, mask: Array, condition: Array
    ) -> list[KeyValues]:
        """Keys and values of [text; patches; slots] for each block, [B, H, N + P + K, D / H], of
        what `__call__` takes."""
        x, counts = jnp.concatenate([patches, slots], axis=1), (patches.shape[1], slots.shape[1])
        return self._once(x, counts, text, self._seen(mask, *counts), condition)[1]

    def draw(
        self,
        patch: Array,
        place: Array,
        slots: int,
        known: Sequence[KeyValues],
        mask: Array,
        condition: Array,
    ) -> tuple[Array, list[KeyValues]]:
        """One patch, if `causal`, given keys and values of those before it.

        Args:
          patch: [B, 1, D]. place: its number in row order, int32. slots: K.
          known: what `read` or the call before gave.
          mask: bool [B, N], of the text. condition: [B, D].

        Returns:
          output [B, 1, outputs] in float32; and keys and values, the patch's own among them.
        """
        patches = known[0][0].shape[2] - mask.shape[1] - slots
        seen = jnp.concatenate(
            [
                mask,
                jnp.broadcast_to(jnp.arange(patches) <= place, (len(mask), patches)),
                jnp.ones((len(mask), slots), bool),
            ],
            axis=1,
        )
        found = []
        for block, own in zip(self.blocks, known):
            patch, own = block(patch, (patches, slots), own, seen[:, None], condition, place)
            found.append(own)
        return self._shown(self._modulated(patch, condition)), found

    def _seen(self, mask: Array, patches: int, slots: int) -> Array:
        """The mask of blocks [B, 1 or P + K, N + P + K], from the text's [B, N]."""
        every = jnp.pad(mask, ((0, 0), (0, patches + slots)), constant_values=True)[:, None]
        if not self.causal:
            return every
        token = jnp.arange(patches + slots)
        earlier = token <= token[:, None]  # slots come last
        patch = token < patches
        allowed = jnp.where(patch, earlier & patch[:, None], True)
        return every & jnp.pad(allowed, ((0, 0), (mask.shape[1], 0)), constant_values=True)

    def _modulated(self, x: Array, condition: Array) -> Array:
        shift, scale = jnp.split(self.modulation(nn.silu(condition))[:, None], 2, axis=-1)
        return normalize(x) * (1 + scale) + shift

    def _shown(self, painted: Array) -> Array:
        """[B, P, D] -> [B, P, outputs]."""
        output = self.output(painted)
        return output + self._mixed(painted) if self.palette else output

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
        colors = self.colors(painted).reshape(*patches, self.palette, -1, 1)
        # Colour by colour, a softmax and a sum written out: over an axis of a few, or as products,
        # they take twice as long on a CPU.
        shares = jnp.unstack(shares, axis=-1)
        most = jax.lax.stop_gradient(functools.reduce(jnp.maximum, shares))
        shares = [jnp.exp(share - most) for share in shares]
        total = sum(shares)
        mixed = [
            sum(share * colors[..., i, channel, :] for i, share in enumerate(shares)) / total
            for channel in range(colors.shape[-2])
        ]
        return jnp.stack(mixed, axis=-1).reshape(*patches, -1)

    def _once(
        self, x: Array, counts: tuple[int, int], text: KeyValues, mask: Array, condition: Array
    ) -> tuple[Array, list[KeyValues]]:
        """The blocks one after the other, and keys and values of each."""
        found = []
        for block, own_text in zip(self.blocks, by_layer(text)):
            x, known = block(x, counts, own_text, mask, condition)
            found.append(known)
        return x, found

    def _run(
        self, x: Array, counts: tuple[int, int], text: KeyValues, mask: Array, condition: Array
    ) -> Array:
        """The blocks one after the other, as `scan` and `remat` have it."""
        block = PainterBlock(self.heads, dtype=self.dtype, parent=None)

        def layer(x: Array, own: tuple[Any, Any]) -> tuple[Array, None]:
            params, text = own
            return block.apply({"params": params}, x, counts, text, mask, condition)[0], None

        if self.remat != "none":
            layer = jax.checkpoint(layer, policy=REMAT[self.remat])
        params = self.variables["params"]
        if scans(self.scan):
            params = params if STACKED in params else stack_blocks(params)
            text = jax.tree.map(lambda t: jnp.moveaxis(t, 1, 0), text)
            return jax.lax.scan(layer, x, (params[STACKED], text))[0]
        for i, own_text in enumerate(by_layer(text)):
            x, _ = layer(x, (params[f"block_{i}"], own_text))
        return x


def by_layer(text: KeyValues) -> Iterator[KeyValues]:
    """Keys and values for each block, [B, H, N, D / H]."""
    return zip(*(jnp.unstack(t, axis=1) for t in text))
