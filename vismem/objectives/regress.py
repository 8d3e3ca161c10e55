"""Straight to the picture by squared error: the baseline that blurs."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.objectives.base import Batch, Metrics, Params
from vismem.objectives.generative import PLAYER
from vismem.objectives.refine import Refiner


@dataclass(eq=False, kw_only=True)
class Regress(Refiner):
    """The objective `regress`: every step adds to a canvas that begins empty (DRAW; Gregor et al.
    2015), and the last one is to be the picture. Where a text leaves something open, that is the
    mean of all that fit it; and a text gives one drawing, whatever the seed.

    Drawings take as many steps as training had, which `drawing.steps` must say.
    """

    players = (PLAYER,)

    def check_drawing(self, times: np.ndarray, guidance_scale: float) -> None:
        """See `Drawer.check_drawing`."""
        super().check_drawing(times, guidance_scale)
        if len(times) - 1 != self.steps:
            raise UserError(
                f"drawing.steps={len(times) - 1}: regress adds to its canvas as often as in "
                f"training; take {self.steps}"
            )

    def estimate(self, output: jax.Array, canvas: jax.Array, time: jax.Array) -> jax.Array:
        return canvas + output

    def start(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """X_1: nothing."""
        return jnp.zeros(shape)

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The mean squared error of the last step's picture: of its pixels or, on the grid of an
        autoencoder, of its code to that of the true picture; nothing is decoded.

        Args:
          player: "generator".
          params: {"generator": tree}, and of an autoencoder.
          batch: `image` uint8 [B, H, W, C], `tokens` int32 [B, L].
        """
        picture = self.codec.encode(params, batch["image"])
        times = jnp.tile(jnp.arange(self.steps)[:, None] / self.steps, len(picture))
        drawn = self.unroll(params, self.start(key, picture.shape), batch, times)[-1]
        return jnp.square(drawn - picture).mean(), {}
