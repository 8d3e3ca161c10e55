"""Recurrent text encoders: the simple RNN (Elman 1990), the LSTM (Hochreiter & Schmidhuber 1997)
and the GRU (Cho et al. 2014).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.layers import KERNEL, Array, Embed, LayerNorm, check_sizes


class Recurrent(nn.Module):
    """Token ids int32 [B, L] (0 is padding, at the end) -> features [B, L, width] and mask bool
    [B, L].

    A token's feature is the state after reading it. If `bidirectional`, each direction has half of
    the width, and the backward one begins at the text's last token. Padding never changes the
    features of what is not padding.
    """

    cell: ClassVar[type[nn.RNNCellBase]]

    vocab_size: int
    width: int = 128
    layers: int = 1
    bidirectional: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        check_sizes(self, "text", "width", "layers")
        directions = ("forward", "backward") if self.bidirectional else ("forward",)
        if self.width % len(directions):
            raise UserError(f"text.width={self.width}: must be even if text.bidirectional")
        mask = tokens > 0
        # In float32 whatever the dtype: what is rounded off a state is missing ever after.
        x = Embed(self.vocab_size, self.width, stddev=1.0, name="embed")(tokens)
        for i in range(self.layers):
            states = []
            for direction in directions:
                cell = self.cell(
                    self.width // len(directions),
                    kernel_init=nn.with_logical_partitioning(KERNEL, ("embed", "heads")),
                    recurrent_kernel_init=nn.with_logical_partitioning(
                        nn.initializers.orthogonal(), ("embed", "heads")
                    ),
                    name=f"{direction}_{i}",
                )
                run = nn.RNN(cell, reverse=direction == "backward", keep_order=True)
                states.append(run(x, seq_lengths=mask.sum(-1)))
            x = jnp.concatenate(states, axis=-1)
        return LayerNorm(name="norm")(x).astype(self.dtype), mask


class RNN(Recurrent):
    """The simple RNN."""

    cell = nn.SimpleCell


class LSTM(Recurrent):
    """Long short-term memory."""

    cell = nn.OptimizedLSTMCell


class GRU(Recurrent):
    """The gated recurrent unit."""

    cell = nn.GRUCell
