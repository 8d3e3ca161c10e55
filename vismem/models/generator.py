"""The generator: text encoder, stem, fusion, memory, strategy and painter, joined in one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from flax import struct

from vismem import registry
from vismem.errors import UserError
from vismem.models import FUSION, TEXT, VISION
from vismem.models.layers import Array, Dense, sincos_2d, time_features
from vismem.models.memory import Memory, StrategyHead
from vismem.models.painter import Painter
from vismem.models.vision.stems import PatchStem, check_patch, from_patches


@dataclass(frozen=True)
class PainterConfig:
    """The painter's transformer, and the width all of the generator shares."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    patch: int = 8
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        for key in ("layers", "heads", "patch"):
            if getattr(self, key) < 1:
                raise UserError(f"painter.{key}={getattr(self, key)}: must be at least 1")
        if self.width < 4 or self.width % 4 or self.width % self.heads:
            raise UserError(
                f"painter.width={self.width}: must be a multiple of 4 and of painter.heads"
            )


@dataclass(frozen=True)
class MemoryConfig:
    """Memory f: slots, and how they are updated (models/memory.py)."""

    enabled: bool = True
    slots: int = 8
    update: Literal["gated", "gru", "residual"] = "gated"

    def __post_init__(self):
        if self.slots < 1:
            raise UserError(
                f"memory.slots={self.slots}: must be at least 1; memory.enabled=False for none"
            )


@dataclass(frozen=True)
class StrategyConfig:
    """Strategy g: whether S_t modulates the painter, beside giving it the slots."""

    enabled: bool = True


@struct.dataclass
class Text:
    """C, encoded once a drawing and used by every step.

    Attributes:
      tokens: what joins the attention of memory and painter, [B, N, D].
      mask: bool [B, N], the tokens that exist.
      vector: the pooled text, [B, E].
      key_values: of the tokens for each of the painter's blocks, pairs of [B, N, H, D / H].
    """

    tokens: Array
    mask: Array
    vector: Array
    key_values: tuple[tuple[Array, Array], ...]


@struct.dataclass
class Carry:
    """What one step hands to the next.

    Attributes:
      memory: M, float32 [B, K, D] (K = 0 without memory).
      estimate: Y, [B, H, W, C] in [-1, 1], zeros at first.
    """

    memory: Array
    estimate: Array


class Generator(nn.Module):
    """One drawing step, and what is computed once before the first.

    Attributes:
      text, vision, fusion: `{"name": ..., **options}` of models/__init__.py's tables.
      size: height and width of the canvas in pixels. channels: of the canvas.
      vocab_size: of the tokenizer.
    """

    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    fusion: Mapping[str, Any]
    painter: PainterConfig
    memory: MemoryConfig
    strategy: StrategyConfig
    vocab_size: int
    size: int
    channels: int = 3

    def setup(self) -> None:
        p = self.painter
        check_patch(p.patch, self.size)
        dtype = jnp.dtype(p.dtype)
        given = {"width": p.width, "patch": p.patch, "dtype": dtype}
        self.text_encoder = registry.build(
            TEXT, self.text, "text", vocab_size=self.vocab_size, dtype=dtype
        )
        self.stem = registry.build(VISION, self.vision, "vision", **given)
        self.fuse = registry.build(FUSION, self.fusion, "fusion", **given)
        self.time_up = Dense(p.width, (None, "embed"), dtype=dtype)
        self.time_down = Dense(p.width, ("embed", None), dtype=dtype)
        outputs = p.patch * p.patch * self.channels
        self.paint = Painter(p.width, p.layers, p.heads, outputs, dtype=dtype)
        if self.memory.enabled:
            self.seen = PatchStem(p.patch, p.width, dtype=dtype)
            self.f = Memory(self.memory.slots, p.width, p.heads, self.memory.update, dtype=dtype)
            self.g = StrategyHead(p.width, self.strategy.enabled, dtype=dtype)

    def encode(self, tokens: Array, features: Array | None = None) -> Text:
        """Token ids int32 [B, L] -> C; the text encoder is spared if its `features` are given."""
        read = self.text_encoder(tokens) if features is None else (features, tokens > 0)
        tokens, mask, vector = self.fuse.prepare(*read)
        return Text(tokens, mask, vector, self.paint.read_text(tokens))

    def begin(self, batch: int) -> Carry:
        """The carry before the first step of a drawing: M_0 and Y_1 = 0."""
        if self.memory.enabled:
            memory = self.f.initial(batch)
        else:
            memory = jnp.zeros((batch, 0, self.painter.width))
        return Carry(memory, jnp.zeros((batch, self.size, self.size, self.channels)))

    def step(
        self, carry: Carry, canvas: Array, time: Array, text: Text
    ) -> tuple[Array, Array, Array]:
        """M_t, the painter's output, and what the slots attended to.

        Args:
          carry: M_{t-1} and Y_t.
          canvas: X_t [B, H, W, C].
          time: [B] in [0, 1], 1 where the canvas is clean.
          text: C.

        Returns:
          M_t with the painter's write-back, float32 [B, K, D]; the output [B, H, W, C] in float32,
          to be read as the objective's prediction; attention of the slots over the patches [B, K,
          P].
        """
        p, grid = self.painter, self.size // self.painter.patch
        positions = sincos_2d(grid, grid, p.width).astype(p.dtype)
        patches = self.stem(canvas) + positions
        timing = self.time_down(nn.silu(self.time_up(time_features(time, p.width))))
        condition = timing + self.fuse(text.vector, patches)
        memory = carry.memory
        if self.memory.enabled:
            pictures = jnp.concatenate([canvas, carry.estimate], axis=-1)
            seen = self.seen(pictures) + positions + timing[:, None]
            mask = jnp.pad(text.mask, ((0, 0), (grid * grid, 0)), constant_values=True)
            memory, attention = self.f(memory, jnp.concatenate([seen, text.tokens], 1), mask)
            attention = attention[..., : grid * grid]
            strategy = self.g(memory, seen)
            condition, slots = condition + strategy.modulation, strategy.slots
        else:
            attention = jnp.zeros((len(canvas), 0, grid * grid))
            slots = jnp.zeros((len(canvas), 0, p.width), p.dtype)
        output, slots = self.paint(patches, slots, text.key_values, text.mask, condition)
        if self.memory.enabled:
            memory = self.f.write(memory, slots)
        return memory, from_patches(output, p.patch, (grid, grid)), attention
