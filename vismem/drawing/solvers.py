"""Solvers: from the estimates of one network evaluation after another to the canvas of the next.

A solver is a schedule of evaluation times and an `advance`; the scan over evaluations is the same
for all (drawing/scan.py), so that a second-order method costs run time and no compile time. All are
exact for an estimate that does not change, `Heun` on a straight path only, and written in terms of
the objective's own `advance` and `renoise`.
"""

import copy
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vismem import registry
from vismem.drawing import SOLVERS
from vismem.errors import UserError
from vismem.objectives.base import Drawer
from vismem.objectives.flow import refresh_times

Array = jax.Array


class Solver(Protocol):
    """Attributes:
    times: float32 [N + 1], the time of each of N network evaluations, then 1.
    needs: a method that only the objectives have which it can draw with.
    """

    times: np.ndarray
    needs: str

    def start(self, canvas: Array, key: Array) -> Any:
        """What `advance` wants to remember, before the first evaluation at `canvas` [B, H, W, C];
        `key` is for the noise of a solver that adds any."""

    def advance(
        self, objective: Drawer, index: Array, canvas: Array, estimate: Array, memo: Any
    ) -> tuple[Array, Any]:
        """The canvas of evaluation `index` + 1, from the canvas and the estimate of `index`."""


class Euler:
    """First order, one evaluation a step."""

    needs = "advance"

    def __init__(self, steps: int):
        self.times = np.linspace(0, 1, steps + 1, dtype=np.float32)

    def start(self, canvas: Array, key: Array) -> tuple[()]:
        return ()

    def advance(self, objective, index, canvas, estimate, memo):
        now, to = interval(self.times, index)
        return objective.advance(canvas, estimate, now, to), memo


class Heun:
    """Second order, two evaluations a step but one in the last (Karras et al. 2022, algorithm 1).

    Evaluations alternate: a step on trial along the first velocity, then the step itself along the
    mean of both. Memory passes through both.
    """

    needs = "velocity"

    def __init__(self, steps: int):
        grid = np.linspace(0, 1, steps + 1, dtype=np.float32)
        self.times = np.append(np.repeat(grid[:-1], 2)[1:], grid[-1])

    def start(self, canvas: Array, key: Array) -> tuple[Array, Array]:
        return canvas, jnp.zeros_like(canvas)

    def advance(self, objective, index, canvas, estimate, memo):
        now, to = interval(self.times, index)
        velocity = objective.velocity(canvas, estimate, now)
        trial = objective.advance(canvas, estimate, now, to)
        origin, first = memo
        before = jnp.asarray(self.times)[jnp.maximum(index - 1, 0)]
        corrected = origin + (now - before) * (first + velocity) / 2
        correct = index % 2 == 1
        memo = jax.tree.map(lambda old, new: jnp.where(correct, old, new), memo, (canvas, velocity))
        return jnp.where(correct, corrected, trial), memo


class Multistep:
    """Second order, one evaluation a step: DPM-Solver++(2M) (Lu et al. 2022, algorithm 2).

    The estimate is extrapolated from the last two, linearly in log(a / b). The first and the
    last step are of first order: before the one there is no estimate, after the other no finite
    step.
    """

    needs = "log_snr"

    def __init__(self, steps: int):
        self.times = np.linspace(0, 1, steps + 1, dtype=np.float32)

    def start(self, canvas: Array, key: Array) -> Array:
        return jnp.zeros_like(canvas)

    def advance(self, objective, index, canvas, estimate, memo):
        now, to = interval(self.times, index)
        before = jnp.asarray(self.times)[jnp.maximum(index - 1, 0)]
        last = objective.log_snr(now) - objective.log_snr(before)
        step = objective.log_snr(to) - objective.log_snr(now)
        inner = (index > 0) & (index < len(self.times) - 2)
        share = jnp.where(inner, step / (2 * jnp.where(inner, last, 1)), 0)
        extrapolated = estimate + share * (estimate - memo)
        return objective.advance(canvas, extrapolated, now, to), estimate


class Renoise:
    """First order; up to half time every estimate gets noise of its own (`Flow.refresh`)."""

    needs = "refresh"  # tokens have `renoise` too, but no noise

    def __init__(self, steps: int):
        self.times = refresh_times(steps)

    def start(self, canvas: Array, key: Array) -> Array:
        return key

    def advance(self, objective, index, canvas, estimate, memo):
        now, to = (x * jnp.ones(len(canvas)) for x in interval(self.times, index))
        key = jax.random.fold_in(memo, index)
        return objective.refresh(canvas, estimate, now, to, key), memo


class Ancestral:
    """First order, with fresh noise at every step: X_s is drawn from what X_t and the estimate
    leave open, as in DDPM (Ho et al. 2020, equation 7), for any path a * picture + b * noise:

        X_s = a_s Y + k * (noise in X_t) + sqrt(b_s^2 - k^2) * noise,     k = a_t b_s^2 / (a_s b_t)
    """

    needs = "path"

    def __init__(self, steps: int):
        self.times = np.linspace(0, 1, steps + 1, dtype=np.float32)

    def start(self, canvas: Array, key: Array) -> Array:
        return key

    def advance(self, objective, index, canvas, estimate, memo):
        now, to = interval(self.times, index)
        (a, b), (a_to, b_to) = objective.path(now), objective.path(to)
        left = (canvas - a * estimate) / b
        kept = a * jnp.square(b_to) / (a_to * b)
        fresh = jnp.sqrt(jnp.maximum(jnp.square(b_to) - jnp.square(kept), 0))
        noise = jax.random.normal(jax.random.fold_in(memo, index), canvas.shape)
        return a_to * estimate + kept * left + fresh * noise, memo


class Reveal:
    """For tokens: drawn at random, and kept if they are sure enough. The share of known ones grows
    with the cosine schedule of MaskGIT (Chang et al. 2022): few at first, many in the end.
    """

    needs = "reveal"

    def __init__(self, steps: int):
        self.times = 1 - np.cos(np.pi / 2 * np.linspace(0, 1, steps + 1)).astype(np.float32)

    def start(self, canvas: Array, key: Array) -> Array:
        return key

    def advance(self, objective, index, canvas, estimate, memo):
        _, to = interval(self.times, index)
        return objective.reveal(canvas, estimate, to, jax.random.fold_in(memo, index)), memo


class RevealEvenly(Reveal):
    """The same with as many tokens in every step. In row order, with as many steps as there are
    tokens, each is drawn knowing all before it."""

    def __init__(self, steps: int):
        self.times = np.linspace(0, 1, steps + 1, dtype=np.float32)


def make(name: str, steps: int, guidance_scale: float, objective: Drawer) -> Solver:
    """The solver of a name, UserError if the objective cannot be drawn with it, or not so."""
    solver = registry.resolve(SOLVERS, name, "drawing.solver")
    if not hasattr(objective, solver.needs):
        fitting = [
            other
            for other in SOLVERS
            if hasattr(objective, registry.resolve(SOLVERS, other, "drawing.solver").needs)
        ]
        kind = type(objective).__name__.lower()
        raise UserError(f"drawing.solver={name!r}: not for {kind}; take {' or '.join(fitting)}")
    made = solver(steps)
    objective.check_drawing(made.times, guidance_scale)
    return made


def rest(solver: Solver, time: float) -> Solver:
    """What is left of a schedule from a time in [0, 1) on: from its last evaluation at or before.

    Of two evaluations at one time the second is taken, where `Heun` begins a step.
    """
    solver = copy.copy(solver)
    first = np.searchsorted(solver.times, np.float32(time), side="right") - 1
    solver.times = solver.times[first:]
    return solver


def interval(times: np.ndarray, index: Array) -> tuple[Array, Array]:
    """The time of evaluation `index` and of the one after it."""
    times = jnp.asarray(times)
    return times[index], times[index + 1]
