"""The scan over drawing steps: a text, noise, and a memory that goes along."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from vismem.drawing.diversity import PLAIN, Diversity
from vismem.drawing.solvers import Solver
from vismem.models.generator import Carry
from vismem.objectives.base import Params
from vismem.random import named_key

Array = jax.Array


@dataclass(frozen=True)
class Guidance:
    """How far the drawing is pushed along differences between what branches of the model estimate.

    Attributes:
      scale: classifier-free guidance (Ho & Salimans 2022): Y_0 + scale * (Y_text - Y_0), Y_0
        without text. 1 is the model as it is, one branch.
      interval: of times in which the scale holds; outside it is 1 (Kynkaanniemi et al. 2024).
      memory: memory guidance: adds memory * (Y - Y_fresh), Y_fresh with the memory emptied at every
        step. 0 is none.
    """

    scale: float = 2.0
    interval: tuple[float, float] = (0.0, 1.0)
    memory: float = 0.0


@struct.dataclass
class Trace:
    """What happened at every network evaluation.

    Attributes:
      estimates: Y_t, [N, B, H, W, C] in [-1, 1].
      attention: of the slots over the patches, [N, B, K, P].
      memory: M_t, [N, B, K, D].
    """

    estimates: Array
    attention: Array
    memory: Array


def draw(
    objective: Any,
    params: Params,
    tokens: Array,
    key: Array,
    solver: Solver,
    guidance: Guidance,
    trace: bool = False,
    carry: Carry | None = None,
    kept: Array | None = None,
    diversity: Diversity = PLAIN,
    again: Carry | None = None,
    pull: Callable[[Array, Array], Array] | None = None,
) -> tuple[Carry, Trace | None]:
    """Draws texts, a turn of a conversation each: a pure function, to be jitted by the caller.

    Args:
      objective: one that draws.
      params: {player: tree}.
      tokens: int32 [B, L].
      key: of the noise.
      solver: schedule and update.
      guidance: scales.
      trace: whether what happened at every evaluation is given.
      carry: what the turn before left; None in a first turn.
      kept: bool [B, H, W], the pixels of the picture which that left that must stay as they are.
      diversity: how drawings of one text are made to differ.
      again: what this same turn left when it was drawn before. The drawing begins with its memory,
        if memory goes from step to step, and with its picture taken back to the solver's first
        time.
      pull: moves the estimate [B, H, W, C] of a time.

    Returns:
      What the turn leaves to the next, its `estimate` the finished canvas [B, H, W, C], and the
      trace.
    """
    batch = len(tokens)
    if not diversity.strength:
        diversity = PLAIN
    diversity.check(objective)
    varied = named_key(key, "diversity")
    branches = Branches(guidance)
    begin = objective.apply(params, batch, method="begin")
    first = begin if carry is None else carry
    # A conversation's memory is left alone, and so is what the turn leaves to the next.
    started = diversity.begin(first, varied) if carry is None else first
    everywhere = branches.carry(started)
    before = everywhere.estimate
    if kept is not None:
        kept = kept[..., None]
        if objective.inpaints(params):  # others see it by what it makes of estimates
            everywhere_kept = jnp.tile(kept.astype(before.dtype), (branches.count, 1, 1, 1))
            before = jnp.concatenate([before, everywhere_kept], axis=-1)
    texts = branches.texts(tokens)
    context = diversity.contexts(objective, params, texts, before, branches.count)
    empty = branches.carry(begin.replace(estimate=first.estimate))
    times = jnp.asarray(solver.times)
    if again is None:
        canvas, began = objective.start(key, first.estimate.shape), everywhere
    else:
        clean = jnp.ones(batch)
        canvas = objective.renoise(again.estimate, clean, times[0] * clean, key)
        began = branches.carry(again.replace(estimate=objective.settled(again.estimate)))

    def show(estimate: Array) -> Array:
        return objective.picture(params, estimate)

    ready = branches.forget(began if objective.chained else everywhere, empty)
    canvases = jnp.tile(canvas, (branches.count, 1, 1, 1))
    cache = objective.prefill(params, ready, canvases, context(times[0], varied))

    def step(state: tuple[Array, Carry, Any], index: Array) -> tuple[Any, tuple[Array, ...]]:
        canvas, carry, memo = state
        time = times[index]
        canvases = jnp.tile(canvas, (branches.count, 1, 1, 1))
        # Memory that was not trained to go from step to step begins each with what the turn began.
        if not objective.chained:
            carry = everywhere.replace(cache=carry.cache)
        carry = branches.forget(carry, empty)
        carry, attention = objective.step(
            params,
            *(carry, canvases, jnp.full(len(canvases), time)),
            context(time, jax.random.fold_in(varied, index)),
        )
        estimate = branches.combine(carry.estimate, time)
        estimate = objective.clip(diversity.spread(estimate, tokens, time, show))
        if pull is not None:
            estimate = objective.clip(pull(estimate, time))
        if kept is not None:
            estimate = jnp.where(kept, first.estimate, estimate)
        canvas, memo = solver.advance(objective, index, canvas, estimate, memo)
        state = (canvas, carry, memo)
        if not trace:
            return state, ()
        return state, (show(estimate), attention[:batch], carry.memory[:batch])

    state = (canvas, began.replace(cache=cache), solver.start(canvas, named_key(key, "solver")))
    (canvas, _, _), seen = jax.lax.scan(step, state, jnp.arange(len(solver.times) - 1))
    context = jax.tree.map(lambda x: x[:batch], context(times[-1], varied))
    canvas = objective.clip(canvas)
    if kept is not None:  # to the last bit, however the solver rounds
        canvas = jnp.where(kept, first.estimate, canvas)
    left = objective.apply(params, first, canvas, context, method="remember")
    return left, Trace(*seen) if trace else None


class Branches:
    """The model's copies that guidance compares, side by side in one batch.

    The first has text and memory; then, where asked for, one without text (with a memory of its
    own) and one with text whose memory is emptied before every step.
    """

    def __init__(self, guidance: Guidance):
        self.guidance = guidance
        self.names = ["full"]
        self.names += ["no text"] if guidance.scale != 1 else []
        self.names += ["no memory"] if guidance.memory else []
        self.count = len(self.names)

    def texts(self, tokens: Array) -> Array:
        """Tokens [B, L] for all branches, [count * B, L]; no text is all padding."""
        return jnp.concatenate([tokens * (name != "no text") for name in self.names])

    def carry(self, first: Carry) -> Carry:
        """What all branches begin a turn with."""
        return jax.tree.map(lambda x: jnp.concatenate([x] * self.count), first)

    def forget(self, carry: Carry, empty: Carry) -> Carry:
        """Empties what the branch without memory carries. Its cache was made of an empty memory."""
        if "no memory" not in self.names:
            return carry
        kept = len(carry.memory) * (self.count - 1) // self.count
        own = carry.replace(cache=None)
        emptied = jax.tree.map(lambda c, e: jnp.concatenate([c[:kept], e[kept:]]), own, empty)
        return emptied.replace(cache=carry.cache)

    def combine(self, estimates: Array, time: Array) -> Array:
        """One estimate [B, H, W, C] from all branches', [count * B, H, W, C]."""
        parts = dict(zip(self.names, jnp.split(estimates, self.count)))
        full = estimate = parts["full"]
        if "no text" in parts:
            low, high = self.guidance.interval
            scale = jnp.where((time >= low) & (time <= high), self.guidance.scale, 1.0)
            estimate = parts["no text"] + scale * (full - parts["no text"])
        if "no memory" in parts:
            estimate = estimate + self.guidance.memory * (full - parts["no memory"])
        return estimate
