"""Diffusion that preserves variance: flow on a quarter of a circle instead of a straight line.

    X_t = sin(angle) * picture + cos(angle) * noise,     angle = t * pi / 2

This is the cosine schedule (Nichol & Dhariwal 2021), with t = 1 clean as everywhere here. The
velocity of `prediction = "v"` is -pi / 2 times that of Salimans & Ho (2022). Solvers: "euler" is
DDIM, "multistep" DPM-Solver++(2M), "ancestral" the sampler of DDPM.
"""

import jax
import jax.numpy as jnp

from vismem.objectives.flow import Flow


class Diffusion(Flow):
    """The objective `diffusion`, with the options of `flow`."""

    def path(self, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        angle = time * jnp.pi / 2
        return jnp.sin(angle), jnp.cos(angle)

    def weight(self, time: jax.Array) -> jax.Array:
        """That of the noise's squared error where the noise is predicted (Ho et al. 2020)."""
        if self.prediction != "eps":
            return super().weight(time)
        a, b = self.path(time)
        return jnp.square(a / jnp.maximum(b, 1e-3))
