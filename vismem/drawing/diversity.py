"""Many drawings of one text, each another: what may be changed in a drawing so that they differ.

A drawing is changed in up to three places: what memory begins with, the text as each step reads
it, and the estimate that a step makes. A method changes one of them; with `strength` 0 it is left
out, and drawing is what it was. By default a strength is one that did well by the quickstart, of
those that were tried (experiments/RESULTS.md, "Diversity").
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.generator import Carry, Context
from vismem.models.layers import normalize
from vismem.objectives.base import Drawer, Params

Array = jax.Array


@dataclass(frozen=True)
class Diversity:
    """Changes nothing: the drawing that every method starts from.

    Attributes:
      strength: how much is changed, from 0.
    """

    strength: float = 0.0

    def __post_init__(self):
        if self.strength < 0:
            raise UserError(f"drawing.diversity.strength={self.strength}: must not be negative")

    def check(self, objective: Drawer) -> None:
        """UserError if drawings of the objective cannot be changed like this."""

    def begin(self, carry: Carry, key: Array) -> Carry:
        """What the drawings of a first turn begin with, from what they would begin with."""
        return carry

    def contexts(
        self, objective: Drawer, params: Params, tokens: Array, before: Array, branches: int
    ) -> Callable[[Array, Array], Context]:
        """C as a function of a step's time and key; the text as it is at time 1.

        Args:
          tokens: int32 [branches * B, L], the texts of each branch of guidance after the other's.
          before: pictures that the turn begins with, [branches * B, H, W, C (+ 1)].
        """
        context = objective.encode(params, tokens, before)
        return lambda time, key: context

    def spread(
        self, estimates: Array, tokens: Array, time: Array, show: Callable[[Array], Array]
    ) -> Array:
        """What takes the place of guided estimates [B, H, W, C] of texts int32 [B, L].

        Args:
          show: estimates -> the pictures that they show, [B, H, W, 3] in [-1, 1].
        """
        return estimates


PLAIN = Diversity()


@dataclass(frozen=True)
class CADS(Diversity):
    """Condition-annealed sampling (Sadat et al. 2024): the text is noisy while the canvas is.

        y' = sqrt(g) y + s sqrt(1 - g) n,     n ~ N(0, std(y)^2)
        g = 1 for u <= tau1,  (tau2 - u) / (tau2 - tau1) between,  0 for u >= tau2;  u = 1 - time

    y are the text encoder's features [B, L, E]. Noise is new at every step, and the same for all
    branches of a drawing; a branch without text has nothing that it could be seen on. Means and
    deviations are those of each token, so that s does not depend on the encoder.

    Attributes:
      strength: s.
      tau1, tau2: shares of noise in the canvas, in [0, 1]: up to the first the text is as it is,
        from the second on it is all noise.
      rescale: psi, the share in y' of y' with the mean and deviation of y.
    """

    strength: float = 1.5
    tau1: float = 0.6
    tau2: float = 0.9
    rescale: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.tau1 < self.tau2 <= 1:
            raise UserError(
                f"drawing.diversity: tau1={self.tau1}, tau2={self.tau2}: must be in order, 0 to 1"
            )

    def check(self, objective: Drawer) -> None:
        if objective.generator.causal:
            raise UserError(
                "drawing.diversity: cads: changes the text at every step, and order='raster' reads "
                "it once; take slots or repulsion"
            )

    def contexts(
        self, objective: Drawer, params: Params, tokens: Array, before: Array, branches: int
    ) -> Callable[[Array, Array], Context]:
        features = objective.apply(
            params, tokens, method=lambda model, tokens: model.text_encoder(tokens)[0]
        )

        def at(time: Array, key: Array) -> Context:
            noise = jax.random.normal(key, (len(tokens) // branches, *features.shape[1:]))
            noise = jnp.tile(noise, (branches, 1, 1)).astype(features.dtype)
            return objective.encode(params, tokens, before, self.noised(features, noise, time))

        return at

    def noised(self, features: Array, noise: Array, time: Array) -> Array:
        """y' of y, n and time."""
        kept = jnp.clip((self.tau2 - (1 - time)) / (self.tau2 - self.tau1), 0, 1)
        kept = kept.astype(features.dtype)
        added = self.strength * features.std(-1, keepdims=True) * noise
        mixed = jnp.sqrt(kept) * features + jnp.sqrt(1 - kept) * added
        mixed = self.rescale * spread_like(mixed, features) + (1 - self.rescale) * mixed
        return jnp.where(kept < 1, mixed, features)


@dataclass(frozen=True)
class Slots(Diversity):
    """Every drawing begins with slots of its own: M_0 + s n, n ~ N(0, 1), brought back to each
    slot's mean and deviation in M_0. In another order the slots would be the same memory: what
    reads them does not see their order.

    Attributes:
      strength: s; far above 1 nothing is left of M_0.
    """

    strength: float = 4.0

    def check(self, objective: Drawer) -> None:
        if not objective.generator.memory.enabled:
            raise UserError("drawing.diversity: slots: the run has no memory; choose another")

    def begin(self, carry: Carry, key: Array) -> Carry:
        noised = carry.memory + self.strength * jax.random.normal(key, carry.memory.shape)
        return carry.replace(memory=spread_like(noised, carry.memory))


@dataclass(frozen=True)
class Repulsion(Diversity):
    """Particle guidance (Corso et al. 2023): estimates of one text drive each other apart.

        Y_i - s (1 - time) dU/dY_i,     U = h/2 sum_{i<j} k_ij,     k_ij = exp(-|v_i - v_j|^2 / w)

    v are features of the pictures that the n estimates show; w is the mean of |v_i - v_j|^2 over
    log n (SVGD has the median; Liu & Wang 2016), and h the same of the estimates themselves. With
    h the strength has no unit: where v = Y, the change is s (1 - time) sum_j k_ij (Y_i - Y_j), a
    share of how far apart they are. No change is left at the clean end. Estimates that are equal
    stay so: the kernel is flat there.

    Attributes:
      strength: s.
      features: pictures [B, H, W, 3] in [-1, 1] -> [B, E], as an encoder gives them; None for the
        estimates as they are.
    """

    strength: float = 2.0
    features: Callable[[Array], Array] | None = None

    def spread(
        self, estimates: Array, tokens: Array, time: Array, show: Callable[[Array], Array]
    ) -> Array:
        push = jax.grad(self.energy)(estimates, tokens, show)
        return estimates - self.strength * (1 - time) * push

    def energy(self, estimates: Array, tokens: Array, show: Callable[[Array], Array]) -> Array:
        """U, over all texts."""
        same = (tokens[:, None] == tokens).all(-1)
        others = same & ~jnp.eye(len(same), dtype=bool)
        canvases = squared_distances(estimates)
        seen = (
            canvases if self.features is None else squared_distances(self.features(show(estimates)))
        )

        def width(squared: Array) -> Array:
            """Of the kernel, for each text: [B]."""
            count = same.sum(1)
            mean = same @ (others * squared).sum(1) / jnp.maximum(count * (count - 1), 1)
            width = jnp.maximum(mean, 1e-12) / jnp.log(jnp.maximum(count, 2))
            return jax.lax.stop_gradient(width)

        kernel = jnp.exp(-seen / width(seen)[:, None])
        return (width(canvases)[:, None] * others * kernel).sum() / 4  # pairs are counted twice


def spread_like(x: Array, like: Array) -> Array:
    """x with the mean and deviation of `like`, over the last axis."""
    mean, deviation = like.mean(-1, keepdims=True), like.std(-1, keepdims=True)
    return normalize(x) * deviation + mean


def squared_distances(x: Array) -> Array:
    """Of all pairs: [B, ...] -> [B, B]."""
    x = x.reshape(len(x), -1)
    x = x - jax.lax.stop_gradient(x.mean(0))  # small numbers: less is lost in their difference
    squares = jnp.square(x).sum(1)
    return jnp.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
