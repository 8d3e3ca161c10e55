"""Drawing with tokens one after the other in row order, as language models write:

    p(tokens | text) = product over cells i of p(token i | tokens before i, text)

(PixelCNN, van den Oord et al. 2016; of an autoencoder's tokens DALL-E, Ramesh et al. 2021.) The
painter is causal, so that one pass over a picture trains all of its cells, each given the true
tokens before it. In a drawing every step computes one cell: keys and values of text, slots and
earlier cells are kept. They are of use because nothing else changes: memory reads once a turn,
while the canvas is empty.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vismem.errors import UserError
from vismem.models.generator import Cache, Carry, Context
from vismem.objectives.base import Batch, Metrics, Params
from vismem.objectives.generative import PLAYER
from vismem.objectives.masked import Masked
from vismem.random import named_key

# What only a canvas with gaps has a use for.
RANDOM = ("steps", "chains", "ratio", "carry", "choice_temperature")


@dataclass(eq=False, kw_only=True)
class Raster(Masked):
    """The objective `masked` with `order="raster"`: takes as many steps as there are cells, and
    `painter.patch=1`.

    A canvas X_t holds the first cells, a share t of them; the estimate Y_{t+1} logits of the next
    cell's token, certain ones of those before it, and zeros of those after it.
    """

    order: Literal["raster"] = "raster"

    chained = False

    def __post_init__(self):
        for name in RANDOM:
            if getattr(self, name) != getattr(Masked, name):
                raise UserError(
                    f"objective.{name}={getattr(self, name)}: is for order='random'; leave it out"
                )
        if self.painter.patch != 1:
            raise UserError(
                f"painter.patch={self.painter.patch}: order='raster' draws cell by cell; take 1"
            )
        if self.vision.get("name") != "patches":
            raise UserError(
                f"vision.name={self.vision.get('name')!r}: would see cells before they are drawn; "
                "order='raster' takes patches"
            )
        super().__post_init__()
        self.generator = self.generator.clone(causal=True)

    def check_drawing(self, times: np.ndarray, guidance_scale: float) -> None:
        """See `Drawer.check_drawing`."""
        super().check_drawing(times, guidance_scale)
        cells = self.codec.size**2
        if not np.allclose(np.diff(times) * cells, 1, atol=1e-3):
            raise UserError(
                f"drawing.steps: order='raster' draws a cell a step; take {cells} and the solver "
                "reveal_evenly"
            )

    def prefill(self, params: Params, carry: Carry, canvas: jax.Array, context: Context) -> Cache:
        """Keys and values of text, slots and what the canvas holds already."""
        return self.apply(params, carry, canvas, context, method="read")

    def step(
        self, params: Params, carry: Carry, canvas: jax.Array, time: jax.Array, context: Context
    ) -> tuple[Carry, jax.Array]:
        """The next cell's logits; see `Generative.step`."""
        place = number(time[0], canvas)
        last = read(canvas, jnp.maximum(place - 1, 0))  # nothing, before the first
        logits, cache = self.apply(
            params, last[:, None, None], place, carry.cache, context, method="draw"
        )
        estimate = write(self.settled(canvas), logits[:, 0, 0], place)
        return Carry(cache.memory, estimate, cache), cache.attention

    # --- what the scan over drawing steps needs -----------------------------------------------

    def advance(
        self, canvas: jax.Array, estimate: jax.Array, time: jax.Array, to: jax.Array
    ) -> jax.Array:
        """X from `time` to `to`, one cell later, with its likeliest token."""
        place = number(to, canvas) - 1
        token = read(estimate, place).argmax(-1)
        return write(canvas, jax.nn.one_hot(token, canvas.shape[-1]), place)

    def reveal(
        self, canvas: jax.Array, estimate: jax.Array, to: jax.Array, key: jax.Array
    ) -> jax.Array:
        """X at `to`, one cell later, with a token drawn at random from its logits."""
        place = number(to, canvas) - 1
        logits = read(estimate, place)
        chance = jax.random.gumbel(named_key(key, "token"), logits.shape)
        token = (logits + self.temperature * chance).argmax(-1)
        return write(canvas, jax.nn.one_hot(token, canvas.shape[-1]), place)

    def renoise(
        self, canvas: jax.Array, time: jax.Array, to: jax.Array, key: jax.Array
    ) -> jax.Array:
        """X_s from X_t, s <= t: with the first cells only. Args: see `Masked.renoise`."""
        places = jnp.arange(canvas.shape[1] * canvas.shape[2]).reshape(canvas.shape[1:3])
        return canvas * (places < number(to, canvas)[:, None, None])[..., None]

    # --- training ------------------------------------------------------------------------------

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The mean cross-entropy of all tokens, each given the true ones before it.

        Args, and what is returned: see `Masked.loss`; `accuracy` is of all tokens.
        """
        params = params | {PLAYER: self.generator.stacked(params[PLAYER])}
        tokens, clean, text = self.examples(params, batch, key, train)
        logits = self.forced(params, clean, text, batch.get("text_features"))
        target = optax.smooth_labels(clean, self.label_smoothing)
        errors = optax.softmax_cross_entropy(logits, target)
        return errors.mean(), {"accuracy": (logits.argmax(-1) == tokens).mean()}

    def forced(
        self,
        params: Params,
        clean: jax.Array,
        text: jax.Array,
        features: jax.Array | None = None,
    ) -> jax.Array:
        """Logits [B, h, w, V] of every cell's token given the cells before it of a whole canvas
        [B, h, w, V], and texts int32 [B, L], whose features [B, L, E] may be known: one pass
        (teacher forcing)."""

        def forward(
            params: Params, clean: jax.Array, text: jax.Array, features: jax.Array | None
        ) -> jax.Array:
            first = self.apply(params, len(clean), method="begin")
            context = self.encode(params, text, first.estimate, features)
            given = (first, clean, jnp.zeros(len(clean)), context)
            return self.apply(params, *given, method="step")[1]

        forward = jax.checkpoint(forward) if self.remat else forward
        return forward(params, clean, text, features)


def number(time: jax.Array, canvas: jax.Array) -> jax.Array:
    """How many cells of a canvas [B, h, w, V] are known at a time: the next one's, from 0."""
    return jnp.round(time * canvas.shape[1] * canvas.shape[2]).astype(jnp.int32)


def read(canvas: jax.Array, place: jax.Array) -> jax.Array:
    """What the cell of that number in row order holds, [B, V], of [B, h, w, V]."""
    cells = canvas.reshape(len(canvas), -1, canvas.shape[-1])
    return jax.lax.dynamic_index_in_dim(cells, place, axis=1, keepdims=False)


def write(canvas: jax.Array, held: jax.Array, place: jax.Array) -> jax.Array:
    """The canvas [B, h, w, V] with that cell holding [B, V]."""
    cells = canvas.reshape(len(canvas), -1, canvas.shape[-1])
    return jax.lax.dynamic_update_index_in_dim(cells, held, place, axis=1).reshape(canvas.shape)
