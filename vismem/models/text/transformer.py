"""A text transformer trained from scratch."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.models.layers import (
    Array,
    Block,
    Embed,
    LayerNorm,
    check_sizes,
    scan_blocks,
    scans,
    sincos,
)


class TextTransformer(nn.Module):
    """Token ids int32 [B, L] (0 is padding) -> features [B, L, width] and mask bool [B, L].

    Padding never changes the features of what is not padding. `scan`: see `layers.scans`.
    """

    vocab_size: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    scan: bool | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        check_sizes(self, "text", "width", "layers", "heads")
        if self.width % self.heads or self.width % 2:
            raise UserError(
                f"text.width={self.width}: must be even and a multiple of text.heads={self.heads}"
            )
        mask = tokens > 0
        x = Embed(self.vocab_size, self.width, stddev=1.0, dtype=self.dtype, name="embed")(tokens)
        x = x + sincos(np.arange(tokens.shape[1]), self.width).astype(self.dtype)
        block = partial(Block, self.heads, dtype=self.dtype)
        if scans(self.scan) and not self.is_initializing():
            x = scan_blocks(block(parent=None), self.variables["params"], x, mask)
        else:
            for i in range(self.layers):
                x = block(name=f"block_{i}")(x, mask)
        return LayerNorm(name="norm")(x), mask
