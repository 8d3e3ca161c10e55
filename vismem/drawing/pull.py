"""Estimates pulled toward a higher score while they are drawn."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from vismem.objectives.base import Drawer, Params

Array = jax.Array


@struct.dataclass
class Pull:
    """Moves every estimate up the gradient of a score of the picture that it shows.

        Y <- Y + strength * (1 - t) * g / rms(g),     g = d score(picture(Y)) / dY

    The gradient is of the estimate only, not of the network that made it (universal guidance's
    backward half; Bansal et al. 2023). The pull fades toward the end, so that the last steps can
    clean up what it left: texture that the scorer likes and nobody else.

    Attributes:
      score: (given, wanted, pictures float32 [B, H, W, 3] in [-1, 1]) -> [B]. Differentiable.
      given: arrays for it, of all pictures: parameters.
      wanted: arrays for it, a row a picture, [B, ...].
      strength: root mean square of the first step's pull.
    """

    score: Callable[[Any, Array, Array], Array] = struct.field(pytree_node=False)
    given: Any
    wanted: Array
    strength: float

    def __call__(self, objective: Drawer, params: Params, estimate: Array, time: Array) -> Array:
        """The estimate [B, H, W, C] of a time, pulled."""

        def total(estimate: Array) -> Array:
            return self.score(self.given, self.wanted, objective.picture(params, estimate)).sum()

        slope = jax.grad(total)(estimate)
        size = jnp.sqrt(jnp.square(slope).mean((1, 2, 3), keepdims=True))
        return estimate + self.strength * (1 - time) * slope / jnp.maximum(size, 1e-12)
