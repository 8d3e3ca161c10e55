"""Memory f and strategy g: what a drawing carries from step to step and from turn to turn.

    M_t = f(M_{t-1}, X_t, Y_t)      S_t = g(M_t, X_t, Y_t)

M is K slots that roam, and if so chosen P more, each with a place: a patch of the picture [B, K (+
P), D]. X_t is the canvas entering step t, Y_t the finished picture as estimated so far. Slots that
read a picture by cross-attention and carry over between steps are RIN's latents
(Jabri et al. 2023, "Scalable adaptive computation for iterative generation"); the gates are the
GRU's (Cho et al. 2014). Nothing that leaves memory moves a fresh painter: the strategy's
projection, the painter's gates on the slots, the write-back and the recall all start at zero, so
that `memory.enabled = false` is the same model without memory, not a broken one. Slots with places
are a map of what was where (Chen & Gupta 2017, "Spatial memory for context reasoning in object
detection"): what to put back, or what stood there before, is found by looking on the spot.

After every update a slot has zero mean and unit variance. Without that, what steps write back adds
up: slots trained on chains of two grew from a root mean square of 7 to 15 over the 24 steps of a
drawing, where emptying them at every step drew better than keeping them (experiments/RESULTS.md).
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vismem.models.layers import (
    MLP,
    Array,
    Dense,
    LayerNorm,
    attend,
    merge_heads,
    normalize,
    split_heads,
)

ZEROS = nn.initializers.zeros


@struct.dataclass
class Strategy:
    """S_t: what steers one step of the painter.

    Attributes:
      modulation: [B, D], added to the conditioning of the painter's blocks.
      slots: [B, K (+ P), D], tokens the painter attends to: the first K, which have no place.
    """

    modulation: Array
    slots: Array


class Memory(nn.Module):
    """f: slots read (X_t, Y_t, C) by cross-attention, then a gated update.

    Attributes:
      slots: K.
      width: D.
      heads: of the cross-attention.
      places: P, slots that each see one patch, and the text; 0 for none.
      update: how what was read enters a slot m, with u what was read and * elementwise:
        "gated": m + z * (u - m), z = sigmoid(W [m, u] + b);
        "gru": the same with a candidate tanh(W_h [r * m, u]) and a reset gate r;
        "residual": m + u.
    """

    slots: int
    width: int
    heads: int
    update: Literal["gated", "gru", "residual"] = "gated"
    places: int = 0
    dtype: Any = jnp.float32

    def setup(self) -> None:
        normal = nn.with_logical_partitioning(nn.initializers.normal(1.0), (None, "embed"))
        self.first = self.param("first", normal, (self.slots, self.width))
        if self.places:
            self.first_placed = self.param("first_placed", normal, (1, self.width))
            self.norm_recall = LayerNorm()
            self.recalled = Dense(self.width, ("embed", None), kernel_init=ZEROS, dtype=self.dtype)
        self.norm_memory, self.norm_seen = LayerNorm(), LayerNorm()
        self.query = Dense(self.width, ("embed", "heads"), dtype=self.dtype)
        self.key_value = Dense(2 * self.width, ("embed", "heads"), dtype=self.dtype)
        self.out = Dense(self.width, ("heads", "embed"), dtype=self.dtype)
        self.norm_mlp = LayerNorm()
        self.mlp = MLP(2 * self.width, dtype=self.dtype)
        gates = {"gated": 1, "gru": 2, "residual": 0}[self.update]
        # Gates in float32: a gate in bfloat16 forgets in steps of 1/256.
        self.gate = Dense(gates * self.width, ("embed", None)) if gates else None
        if self.update == "gru":
            self.candidate = Dense(self.width, ("embed", None))
        self.norm_write = LayerNorm()
        self.write_back = Dense(self.width, (None, "embed"), kernel_init=ZEROS, dtype=self.dtype)

    def initial(self, batch: int) -> Array:
        """M_0 [batch, K + P, D] in float32, the same for every example."""
        first = self.first
        if self.places:
            placed = jnp.broadcast_to(self.first_placed, (self.places, self.width))
            first = jnp.concatenate([first, placed])
        return jnp.broadcast_to(first, (batch, *first.shape))

    def __call__(self, memory: Array, seen: Array, mask: Array) -> tuple[Array, Array]:
        """M_t from M_{t-1}.

        Args:
          memory: M_{t-1}, float32 [B, K + P, D].
          seen: tokens of (X_t, Y_t, C), [B, N, D]; with places, the first P are the patches'.
          mask: bool [B, N], the tokens that exist.

        Returns:
          M_t, float32 [B, K + P, D], and what each slot that roams attended to, [B, K, N], the mean
          over heads.
        """
        mask = mask[:, None]
        if self.places:
            slot, token = np.arange(self.slots + self.places)[:, None], np.arange(seen.shape[1])
            own, text = slot - self.slots == token, token >= self.places
            mask = mask & ((slot < self.slots) | own | text)
        slots = self.norm_memory(memory).astype(self.dtype)
        (query,) = split_heads(self.query(slots), self.heads, 1)
        key, value = split_heads(self.key_value(self.norm_seen(seen)), self.heads, 2)
        read, weights = attend(query, key, value, mask)
        read = slots + self.out(merge_heads(read))
        read = read + self.mlp(self.norm_mlp(read))
        memory = normalize(self._update(memory, normalize(read.astype(jnp.float32))))
        return memory, weights[:, :, : self.slots].mean(1)

    def _update(self, memory: Array, read: Array) -> Array:
        if self.update == "residual":
            return memory + read
        gates = jax.nn.sigmoid(self.gate(jnp.concatenate([memory, read], axis=-1)))
        if self.update == "gated":
            return memory + gates * (read - memory)
        update, reset = jnp.split(gates, 2, axis=-1)
        candidate = jnp.tanh(self.candidate(jnp.concatenate([reset * memory, read], axis=-1)))
        return memory + update * (candidate - memory)

    def write(self, memory: Array, slots: Array) -> Array:
        """M_t with what the painter made of its slots, [B, K, D], added through a projection."""
        written = self.write_back(self.norm_write(slots)).astype(jnp.float32)
        return normalize(memory + jnp.pad(written, ((0, 0), (0, self.places), (0, 0))))

    def recall(self, memory: Array) -> Array:
        """What the slots with places add to the patches that they belong to, [B, P, D]."""
        return self.recalled(self.norm_recall(memory[:, self.slots :]).astype(self.dtype))


class StrategyHead(nn.Module):
    """g: reads the slots with the picture's summary as the question.

    Attributes:
      width: D.
      modulate: whether S_t modulates the painter; if not, it gives the slots as tokens only.
    """

    width: int
    modulate: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, memory: Array, seen: Array) -> Strategy:
        """S_t from M_t [B, K (+ P), D] and the tokens of (X_t, Y_t), [B, P, D]."""
        slots = LayerNorm(name="norm")(memory).astype(self.dtype)
        tokens = Dense(self.width, ("embed", None), dtype=self.dtype, name="slots")(slots)
        if not self.modulate:
            return Strategy(jnp.zeros((len(memory), self.width), self.dtype), tokens)
        question = Dense(self.width, ("embed", None), dtype=self.dtype, name="question")(
            seen.mean(1)
        )
        weights = jax.nn.softmax(
            jnp.einsum("bd,bkd->bk", question, slots).astype(jnp.float32) * self.width**-0.5
        )
        answer = jnp.einsum("bk,bkd->bd", weights.astype(self.dtype), slots)
        hidden = Dense(self.width, dtype=self.dtype, name="hidden")(answer + question)
        modulation = Dense(
            self.width, (None, "embed"), kernel_init=ZEROS, dtype=self.dtype, name="modulation"
        )(nn.silu(hidden))
        return Strategy(modulation, tokens)
