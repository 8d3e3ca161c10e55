"""The generator: text encoder, stem, fusion, memory, strategy and painter, joined in one step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from vismem import registry
from vismem.errors import UserError
from vismem.models import FUSION, TEXT, VISION
from vismem.models.layers import (
    MIXED,
    Array,
    Dense,
    scans,
    sincos_2d,
    stack_blocks,
    time_features,
)
from vismem.models.memory import Memory, StrategyHead
from vismem.models.painter import KeyValues, Painter
from vismem.models.vision.stems import PatchStem, check_patch, from_patches, to_patches


@dataclass(frozen=True)
class PainterConfig:
    """The painter's transformer, and the width all of the generator shares.

    Attributes:
      dtype: of activations and of the products of kernels.
      products: "bfloat16" rounds what float32 kernels are multiplied with, and the kernels, to
        bfloat16, with sums and all else in float32: what a TPU does by default, and on a CPU that
        has the instructions several times faster. One that has not goes on in float32.
      palette: colours that each patch mixes, beside what a linear layer gives it; 0 for the layer
        alone.
      scan, remat: how its blocks are run (models/painter.py).
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    patch: int = 8
    palette: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    products: Literal["float32", "bfloat16"] = "float32"
    scan: bool | None = None
    remat: Literal["none", "dots", "full"] = "none"

    def __post_init__(self):
        for key in ("layers", "heads", "patch"):
            if getattr(self, key) < 1:
                raise UserError(f"painter.{key}={getattr(self, key)}: must be at least 1")
        if self.palette < 0:
            raise UserError(f"painter.palette={self.palette}: must not be negative")
        if self.width < 4 or self.width % 4 or self.width % self.heads:
            raise UserError(
                f"painter.width={self.width}: must be a multiple of 4 and of painter.heads"
            )


@dataclass(frozen=True)
class MemoryConfig:
    """Memory f: slots, and how they are updated (models/memory.py).

    Attributes:
      places: whether every patch has a slot of its own beside the `slots` that roam.
      writes: which turns of a conversation leave something to the next; "first turn" is an
        ablation.
    """

    enabled: bool = True
    slots: int = 8
    update: Literal["gated", "gru", "residual"] = "gated"
    places: bool = False
    writes: Literal["every turn", "first turn"] = "every turn"

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
class Context:
    """C, encoded once a turn and used by every step of it.

    Attributes:
      tokens: the text, as it joins the attention of memory and painter, [B, N, D].
      mask: bool [B, N], the tokens that exist.
      vector: the pooled text, [B, E].
      key_values: of the tokens for the painter's blocks, a pair of [B, layers, H, N, D / H].
      picture: that the turn begins with, [B, H, W, C]; None for a model that begins with an empty
        canvas always.
      before: the same as the painter sees it, a vector a patch, [B, P, D].
    """

    tokens: Array
    mask: Array
    vector: Array
    key_values: tuple[Array, Array]
    picture: Array | None = None
    before: Array | None = None


@struct.dataclass
class Carry:
    """What one step hands to the next, and one turn to the next.

    Attributes:
      memory: M, float32 [B, K (+ P), D] (K = 0 without memory).
      estimate: Y, [B, H, W, C] in [-1, 1]: zeros at first, and at the beginning of a later turn the
        picture that the one before left.
      cache: what an objective keeps from step to step of one turn, if anything.
    """

    memory: Array
    estimate: Array
    cache: Any = None


@struct.dataclass
class Cache:
    """What a causal generator keeps from patch to patch of a drawing.

    Attributes:
      key_values: of [text; patches; slots] for each block, [B, H, N + P + K, D / H]; those of
        patches are of use as far as they are drawn.
      patches: of an empty canvas, [B, P, D]. condition: of the painter, [B, D].
      memory: M, float32 [B, K (+ P), D]. attention: of the slots over the patches, [B, K, P].
    """

    key_values: list[KeyValues]
    patches: Array
    condition: Array
    memory: Array
    attention: Array


def in_precision(method: Callable) -> Callable:
    """A method of the generator whose products are as `painter.products` has them."""

    @wraps(method)
    def run(self: "Generator", *args: Any, **kwargs: Any) -> Any:
        if self.painter.products == "float32":  # as jax is set
            return method(self, *args, **kwargs)
        with jax.default_matmul_precision(MIXED):
            return method(self, *args, **kwargs)

    return run


class Generator(nn.Module):
    """One drawing step, and what is computed once before the first.

    Attributes:
      text, vision, fusion: `{"name": ..., **options}` of models/__init__.py's tables.
      size: height and width of the canvas in pixels. channels: of the canvas.
      vocab_size: of the tokenizer.
      copies: whether the output is a picture, of which a turn may copy parts from the picture it
        began with, pixel by pixel: what stays is not drawn anew (masks to composite by, as in Finn
        et al. 2016, "Unsupervised learning for physical interaction through video prediction").
      causal: whether patches are drawn one by one in row order: the output of each depends on those
        before it. What steers the painter is the same for all of them then: memory reads the canvas
        while it is empty, at time 0, and the painter writes nothing back.
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
    copies: bool = True
    causal: bool = False

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
        pixels = p.patch * p.patch
        self.paint = Painter(
            *(p.width, p.layers, p.heads, pixels * self.channels, pixels),
            palette=p.palette,
            scan=p.scan,
            remat=p.remat,
            causal=self.causal,
            dtype=dtype,
        )
        self.before = PatchStem(p.patch, p.width, dtype=dtype)
        self.kept = PatchStem(p.patch, p.width, dtype=dtype)
        if self.memory.enabled:
            self.seen = PatchStem(p.patch, p.width, dtype=dtype)
            places = (self.size // p.patch) ** 2 if self.memory.places else 0
            m = self.memory
            self.f = Memory(m.slots, p.width, p.heads, m.update, places, dtype=dtype)
            self.g = StrategyHead(p.width, self.strategy.enabled, dtype=dtype)

    @nn.nowrap
    def stacked(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Parameters as a loop over steps should have them: with the painter's blocks stacked, if
        they run as a scan, before the loop and not in each step."""
        if not scans(self.painter.scan):
            return params
        return {**params, "paint": stack_blocks(params["paint"])}

    @in_precision
    def encode(
        self, tokens: Array, before: Array | None = None, features: Array | None = None
    ) -> Context:
        """C of a turn.

        Args:
          tokens: ids, int32 [B, L].
          before: the picture that the turn begins with, [B, H, W, C], or [B, H, W, C + 1] with 1
            beside the pixels that must stay as they are and 0 beside others; None for none, ever.
          features: of the text encoder [B, L, E], which is spared then.
        """
        read = self.text_encoder(tokens) if features is None else (features, tokens > 0)
        tokens, mask, vector = self.fuse.prepare(*read)
        context = Context(tokens, mask, vector, self.paint.read_text(tokens))
        if before is None:
            return context
        picture, kept = jnp.split(before, [self.channels], axis=-1)
        patches = self.before(picture)
        if kept.shape[-1]:
            patches = patches + self.kept(kept)
        return context.replace(picture=picture, before=patches)

    def begin(self, batch: int) -> Carry:
        """The carry before the first step of a first turn: M_0 and Y_1 = 0."""
        if self.memory.enabled:
            memory = self.f.initial(batch)
        else:
            memory = jnp.zeros((batch, 0, self.painter.width))
        return Carry(memory, jnp.zeros((batch, self.size, self.size, self.channels)))

    @in_precision
    def step(
        self, carry: Carry, canvas: Array, time: Array, context: Context
    ) -> tuple[Array, Array, Array]:
        """M_t, the painter's output, and what the slots attended to.

        Args:
          carry: M_{t-1} and Y_t.
          canvas: X_t [B, H, W, C].
          time: [B] in [0, 1], 1 where the canvas is clean.
          context: C.

        Returns:
          M_t with the painter's write-back, float32 [B, K (+ P), D]; the output [B, H, W, C] in
          float32, to be read as the objective's prediction; attention of the slots over the
          patches [B, K, P].
        """
        p = self.painter
        patches, slots, condition, memory, attention = self._steer(carry, canvas, time, context)
        if self.causal:
            patches = patches + self.stem(self._one_later(canvas))
        copies = self.copies and context.picture is not None
        output, copied, slots = self.paint(
            patches, slots, context.key_values, context.mask, condition, copies
        )
        if self.memory.enabled and not self.causal:
            memory = self.f.write(memory, slots)
        grid = self.size // p.patch
        picture = from_patches(output, p.patch, (grid, grid))
        if copies:
            share = from_patches(copied, p.patch, (grid, grid))
            picture = share * context.picture + (1 - share) * picture
        return memory, picture, attention

    @in_precision
    def read(self, carry: Carry, canvas: Array, context: Context) -> Cache:
        """What a causal generator needs to go on from a canvas [B, H, W, C], patch by patch."""
        time = jnp.zeros(len(canvas))
        empty, slots, condition, memory, attention = self._steer(carry, canvas, time, context)
        patches = empty + self.stem(self._one_later(canvas))
        known = self.paint.read(patches, slots, context.key_values, context.mask, condition)
        return Cache(known, empty, condition, memory, attention)

    @in_precision
    def draw(
        self, last: Array, place: Array, cache: Cache, context: Context
    ) -> tuple[Array, Cache]:
        """One patch, if `causal`: what `step` gives for it.

        Args:
          last: the patch before it, [B, h, w, C], zeros before the first.
          place: its number in row order, int32.
          cache: `read` from a canvas that holds all patches before it, or left by the call before.

        Returns:
          The output [B, h, w, C] in float32, and the cache for the next.
        """
        p = self.painter
        patch = jax.lax.dynamic_slice_in_dim(cache.patches, place, 1, axis=1) + self.stem(last)
        slots = self.memory.slots if self.memory.enabled else 0
        output, known = self.paint.draw(
            *(patch, place, slots, cache.key_values, context.mask, cache.condition)
        )
        return from_patches(output, p.patch, (1, 1)), cache.replace(key_values=known)

    @in_precision
    def remember(self, carry: Carry, picture: Array, context: Context) -> Carry:
        """The carry that a turn leaves to the next: f once more, of the finished picture as both X
        and Y, from the memory that the turn began with.

        A turn's own steps do not count, so that what is remembered does not depend on how many
        there were: a few in training, dozens in drawing.

        Args:
          carry: that the turn began with.
          picture: that it ended with, [B, H, W, C].
          context: of the turn.
        """
        memory = carry.memory
        if self.memory.enabled:
            timing = self._timing(jnp.ones(len(picture)))
            memory, _, _ = self._look(carry.replace(estimate=picture), picture, timing, context)
            if self.memory.writes == "first turn":
                untouched = (carry.memory == self.f.initial(len(picture))).all((1, 2))
                memory = jnp.where(untouched[:, None, None], memory, carry.memory)
        return Carry(memory, picture)

    def _steer(
        self, carry: Carry, canvas: Array, time: Array, context: Context
    ) -> tuple[Array, Array, Array, Array, Array]:
        """The painter's patches [B, P, D], slots [B, K, D] and condition [B, D], M_t before it
        writes back, and the slots' attention over the patches [B, K, P]; if `causal`, of an empty
        canvas."""
        if self.causal:
            canvas, time = jnp.zeros_like(canvas), jnp.zeros_like(time)
        positions, timing = self._positions(), self._timing(time)
        patches = self.stem(canvas) + positions
        if context.before is not None:
            patches = patches + context.before
        condition = timing + self.fuse(context.vector, patches)
        if not self.memory.enabled:
            slots = jnp.zeros((len(canvas), 0, self.painter.width), self.painter.dtype)
            attention = jnp.zeros((len(canvas), 0, len(positions)))
            return patches, slots, condition, carry.memory, attention
        memory, seen, attention = self._look(carry, canvas, timing, context)
        strategy = self.g(memory, seen)
        if self.memory.places:
            patches = patches + self.f.recall(memory)
        slots = strategy.slots[:, : self.memory.slots]
        return patches, slots, condition + strategy.modulation, memory, attention

    def _one_later(self, canvas: Array) -> Array:
        """A canvas [B, H, W, C] with every patch in the place of the next in row order."""
        patch, grid = self.painter.patch, self.size // self.painter.patch
        later = jnp.pad(to_patches(canvas, patch)[:, :-1], ((0, 0), (1, 0), (0, 0)))
        return from_patches(later, patch, (grid, grid))

    def _look(
        self, carry: Carry, canvas: Array, timing: Array, context: Context
    ) -> tuple[Array, Array, Array]:
        """f: M_t, the tokens of (X_t, Y_t) that it read, and the slots' attention over them."""
        pictures = jnp.concatenate([canvas, carry.estimate], axis=-1)
        seen = self.seen(pictures) + self._positions() + timing[:, None]
        if context.before is not None:
            seen = seen + context.before
        patches = seen.shape[1]
        mask = jnp.pad(context.mask, ((0, 0), (patches, 0)), constant_values=True)
        read = jnp.concatenate([seen, context.tokens], axis=1)
        memory, attention = self.f(carry.memory, read, mask)
        return memory, seen, attention[..., :patches]

    def _positions(self) -> Array:
        """[P, D]."""
        p, grid = self.painter, self.size // self.painter.patch
        return sincos_2d(grid, grid, p.width).astype(p.dtype)

    def _timing(self, time: Array) -> Array:
        """Times [B] -> [B, D]."""
        return self.time_down(nn.silu(self.time_up(time_features(time, self.painter.width))))
