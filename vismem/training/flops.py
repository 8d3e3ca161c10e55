"""Work and speed: FLOPs of a function's matrix products, and what this machine does a second."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jax.sharding import Mesh

from vismem.objectives.base import Batch, Objective
from vismem.training.optimizer import Optimizer
from vismem.training.step import player_loss


def matmul_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """FLOPs of the matrix products and convolutions of `function(*arguments)`.

    XLA's own count takes the body of a scan once; here it counts as often as it runs. Of branches
    the dearest counts, and loops of unknown length count nothing.

    Args:
      *arguments: arrays or `jax.ShapeDtypeStruct`s; nothing is computed.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return _flops(jaxpr, [False] * len(jaxpr.invars))[0]


def train_flops(
    objective: Objective, optimizer: Optimizer, params: Mapping[str, Any], batch: Batch
) -> int:
    """FLOPs that a train step needs, whatever is computed again: every product of the losses, and
    for its gradient one more for each factor that depends on trained parameters.

    Args:
      optimizer: knows which parameters are trained.
      params, batch: of the state, or their shapes.
    """
    total = 0
    for player in objective.players:
        trained, frozen = optimizer.split(player, params[player])
        loss = partial(player_loss, objective, optimizer, player)
        jaxpr = jax.make_jaxpr(loss)(params, frozen, trained, batch, jax.random.key(0)).jaxpr
        first = len(jax.tree.leaves((params, frozen)))
        last = first + len(trained)
        total += _flops(jaxpr, [first <= i < last for i in range(len(jaxpr.invars))])[0]
    return total


def _flops(jaxpr: Jaxpr, moving: Sequence[bool]) -> tuple[int, list[bool]]:
    """FLOPs of a jaxpr and its gradient.

    Args:
      moving: which inputs depend on what the gradient is for.

    Returns:
      FLOPs, and which outputs depend on it.
    """
    total, moves = 0, dict(zip(jaxpr.invars, moving))

    def moved(atom: Any) -> bool:
        return not isinstance(atom, Literal) and moves.get(atom, False)

    for eqn in jaxpr.eqns:
        given = [moved(x) for x in eqn.invars]
        flops, found = _equation(eqn, given)
        total += flops
        for out, moving in zip(eqn.outvars, found):
            moves[out] = moving and jnp.issubdtype(out.aval.dtype, jnp.inexact)
    return total, [moved(x) for x in jaxpr.outvars]


def _equation(eqn: JaxprEqn, given: list[bool]) -> tuple[int, list[bool]]:
    """`_flops` of one equation."""
    inner = list(_inner(eqn.params))
    match eqn.primitive.name:
        case "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            depth = math.prod(shape[d] for d in contracted)
            flops = 2 * eqn.outvars[0].aval.size * depth
            return flops * (1 + sum(given)), [any(given)]
        case "conv_general_dilated":
            kernel = eqn.invars[1].aval
            outputs = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
            flops = 2 * eqn.outvars[0].aval.size * kernel.size // outputs
            return flops * (1 + sum(given)), [any(given)]
        case "stop_gradient" | "while":
            return 0, [False] * len(eqn.outvars)
        case "scan":
            # What is scanned over or stacked has one axis fewer within.
            inputs, outputs = inner[0].invars, inner[0].outvars
            scanned = sum(x.aval.ndim < whole.aval.ndim for x, whole in zip(inputs, eqn.invars))
            stacked = sum(y.aval.ndim < whole.aval.ndim for y, whole in zip(outputs, eqn.outvars))
            carried = len(outputs) - stacked
            first = len(inputs) - scanned - carried
            while True:  # what the carry depends on after a turn, it depends on in the next
                flops, found = _flops(inner[0], given)
                carry = slice(first, first + carried)
                after = [a or b for a, b in zip(given[carry], found[:carried])]
                if after == given[carry]:
                    return eqn.params["length"] * flops, found
                given[carry] = after
        case "cond":
            branches = [_flops(branch, given[1:]) for branch in inner]
            found = [any(outs) for outs in zip(*(found for _, found in branches))]
            return max(flops for flops, _ in branches), found
        case _ if len(inner) == 1 and len(inner[0].invars) == len(given):  # jit, checkpoint, ...
            return _flops(inner[0], given)
        case _:
            flops = sum(_flops(x, [any(given)] * len(x.invars))[0] for x in inner)
            return flops, [any(given)] * len(eqn.outvars)


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The jaxprs among an equation's parameters: of a scan, an inner jit, a remat, ..."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


@cache  # measured once a process
def matmul_peak(size: int, dtype: str, tries: int = 4) -> float:
    """FLOP/s of one device in a product of matrices [size, size]: the best of a few."""
    x = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    best = math.inf
    for _ in range(tries):
        start = time.perf_counter()
        product(x, x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def machine_peak(mesh: Mesh) -> float:
    """FLOP/s of all devices of a mesh in bfloat16; of CPUs, which share one machine, in float32."""
    if jax.default_backend() == "cpu":
        return matmul_peak(2048, "float32")
    return mesh.size * matmul_peak(8192, "bfloat16")
