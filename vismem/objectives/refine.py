"""Drawing by refinement: T steps, each going on from the picture of the one before."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.generator import (
    Carry,
    Context,
    Generator,
    MemoryConfig,
    PainterConfig,
    StrategyConfig,
)
from vismem.objectives.autoencode import Codec, Pixels, make_codec
from vismem.objectives.base import Batch, Params
from vismem.random import named_key

PLAYER = "generator"


@dataclass(eq=False, kw_only=True)
class Refiner:
    """Draws in T steps, each of which goes on from the picture that the one before drew.

        M_t = f(M_{t-1}, X_t, Y_t),  X_{t+1} = Y_{t+1} = the step's picture,  t = 1..T

    Nothing is known of how a half-drawn picture looks, so training unrolls all steps from the
    first, and gradients pass through all of them. Time goes from 0 toward 1 in steps of 1 / T.
    On the grid of an autoencoder "picture" is its code, [B, h, w, C], until all is drawn.

    Attributes:
      text, vision, fusion, painter, memory, strategy: the generator's parts (models/generator.py).
      vocab_size: of the tokenizer. image_size: height and width in pixels.
      autoencoder: as of `flow`; None for pixels.
      steps: T, in training.
      remat: whether a step's activations are computed again in the backward pass.
    """

    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    fusion: Mapping[str, Any]
    painter: PainterConfig
    memory: MemoryConfig
    strategy: StrategyConfig
    vocab_size: int
    image_size: int
    autoencoder: Mapping[str, Any] | None = None
    steps: int = 4
    remat: bool = False

    chained, redraws = True, False

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"objective.steps={self.steps}: must be at least 1")

    @cached_property
    def codec(self) -> Codec | Pixels:
        """Pictures to what is drawn and back; it is not trained here."""
        return make_codec(self.image_size, self.autoencoder)

    @cached_property
    def generator(self) -> Generator:
        return Generator(
            text=self.text,
            vision=self.vision,
            fusion=self.fusion,
            painter=self.painter,
            memory=self.memory,
            strategy=self.strategy,
            vocab_size=self.vocab_size,
            size=self.codec.size,
            channels=self.codec.channels,
        )

    # --- parameters and modules ---------------------------------------------------------------

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters {"generator": tree}, and of an autoencoder, boxed with logical axes; `batch`
        gives the shapes."""
        if batch["image"].ndim != 4:
            raise UserError("objective: draws one picture a text; flow learns conversations")

        def once(generator: Generator, tokens: jax.Array) -> jax.Array:
            carry = generator.begin(1)
            return generator.step(carry, carry.estimate, jnp.zeros(1), generator.encode(tokens))[1]

        drawn = self.generator.init(key, batch["tokens"][:1], method=once)["params"]
        return {PLAYER: drawn} | self.codec.init(named_key(key, "codec"), batch)

    def apply(self, params: Params, *args: Any, method: Any) -> Any:
        """The generator's `method` ("encode", "begin", ...) with these parameters."""
        return self.generator.apply({"params": params[PLAYER]}, *args, method=method)

    def encode(
        self,
        params: Params,
        tokens: jax.Array,
        before: jax.Array | None = None,
        features: jax.Array | None = None,
    ) -> Context:
        """C, of tokens int32 [B, L] and, if they are known already, the text encoder's `features`
        of them. There is one turn: nothing is drawn `before`."""
        return self.apply(params, tokens, None, features, method="encode")

    def converses(self, params: Params) -> bool:
        """No drawing is followed by a next turn."""
        return False

    def inpaints(self, params: Params) -> bool:
        """No pixels can be held fast."""
        return False

    def step(
        self, params: Params, carry: Carry, canvas: jax.Array, time: jax.Array, context: Context
    ) -> tuple[Carry, jax.Array]:
        """One step.

        Args:
          carry: M_{t-1} and Y_t.
          canvas: X_t [B, H, W, C].
          time: [B] in [0, 1).
          context: C.

        Returns:
          M_t and Y_{t+1}, and the slots' attention over the patches, [B, K, P].
        """
        memory, output, attention = self.apply(params, carry, canvas, time, context, method="step")
        return Carry(memory, self.estimate(output, canvas)), attention

    def estimate(self, output: jax.Array, canvas: jax.Array) -> jax.Array:
        """The painter's output on a canvas, read as a picture: [B, H, W, C]."""
        raise NotImplementedError

    # --- what the scan over drawing steps needs -----------------------------------------------

    def start(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        raise NotImplementedError

    def advance(
        self, canvas: jax.Array, estimate: jax.Array, time: jax.Array, to: jax.Array
    ) -> jax.Array:
        """The next canvas is the estimate."""
        return estimate

    def clip(self, estimate: jax.Array) -> jax.Array:
        """A canvas may go beyond the codec's bound on the way, as in training."""
        return estimate

    def picture(self, params: Params, canvas: jax.Array) -> jax.Array:
        """What a canvas shows, [B, H, W, 3] in [-1, 1]."""
        return jnp.clip(self.codec.decode(params, canvas), -1, 1)

    def _no_path(self, *_: jax.Array) -> jax.Array:
        raise UserError("drawing.solver: only flow and diffusion have a path to solve; take euler")

    renoise = velocity = log_snr = path = _no_path

    # --- training ------------------------------------------------------------------------------

    def unroll(
        self, params: Params, canvas: jax.Array, batch: Batch, times: jax.Array
    ) -> jax.Array:
        """The estimates Y_2 .. Y_{T+1}, [T, B, H, W, C].

        Args:
          canvas: X_1 [B, H, W, C].
          batch: `tokens` int32 [B, L] and, if they are known already, their `text_features`.
          times: of the steps, [T, B].
        """
        first = self.apply(params, len(canvas), method="begin")
        context = self.encode(params, batch["tokens"], features=batch.get("text_features"))

        def step(state: tuple[Carry, jax.Array], time: jax.Array) -> tuple[Any, jax.Array]:
            carry, _ = self.step(params, *state, time, context)
            return (carry, carry.estimate), carry.estimate

        if self.remat:
            step = jax.checkpoint(step)
        # Laid out one after the other without remat, as in flow.
        return jax.lax.scan(step, (first, canvas), times, unroll=not self.remat)[1]
