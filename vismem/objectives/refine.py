"""Drawing by refinement: T steps, each going on from the picture of the one before."""

from dataclasses import dataclass
from typing import Any

import jax

from vismem.errors import UserError
from vismem.models.generator import Carry
from vismem.objectives.base import Batch, Params, scan
from vismem.objectives.generative import Generative


@dataclass(eq=False, kw_only=True)
class Refiner(Generative):
    """Draws in T steps, each of which goes on from the picture that the one before drew.

        M_t = f(M_{t-1}, X_t, Y_t),  X_{t+1} = Y_{t+1} = the step's picture,  t = 1..T

    Nothing is known of how a half-drawn picture looks, so training unrolls all steps from the
    first, and gradients pass through all of them. Time goes from 0 toward 1 in steps of 1 / T.

    Attributes:
      steps: T, in training.
    """

    steps: int = 4

    chained, redraws = True, False

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"objective.steps={self.steps}: must be at least 1")
        super().__post_init__()

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """See `Generative.init`."""
        if batch["image"].ndim != 4:
            raise UserError("objective: draws one picture a text; flow learns conversations")
        return super().init(key, batch)

    # --- what the scan over drawing steps needs -----------------------------------------------

    def advance(
        self, canvas: jax.Array, estimate: jax.Array, time: jax.Array, to: jax.Array
    ) -> jax.Array:
        """The next canvas is the estimate."""
        return estimate

    def clip(self, estimate: jax.Array) -> jax.Array:
        """A canvas may go beyond the codec's bound on the way, as in training."""
        return estimate

    def renoise(
        self, canvas: jax.Array, time: jax.Array, to: jax.Array, key: jax.Array
    ) -> jax.Array:
        raise UserError("draw: again: the run's objective takes no drawing back to noise")

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
        context = self.encode(params, batch["tokens"], first.estimate, batch.get("text_features"))

        def step(state: tuple[Carry, jax.Array], time: jax.Array) -> tuple[Any, jax.Array]:
            carry, _ = self.step(params, *state, time, context)
            return (carry, carry.estimate), carry.estimate

        if self.remat:
            step = jax.checkpoint(step)
        return scan(step, (first, canvas), times, loop=self.remat)[1]
