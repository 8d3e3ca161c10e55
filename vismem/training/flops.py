"""Work and speed: FLOPs of a function's matrix products, and what this machine does a second."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.sharding import Mesh

from vismem.objectives.base import Batch, Objective, Params


def matmul_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """FLOPs of the matrix products and convolutions of `function(*arguments)`.

    XLA's own count takes the body of a scan once; here it counts as often as it runs. Of branches
    the dearest counts, and loops of unknown length count nothing.

    Args:
      *arguments: arrays or `jax.ShapeDtypeStruct`s; nothing is computed.
    """
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def train_flops(objective: Objective, params: Params, batch: Batch) -> int:
    """FLOPs that a train step needs: three times the forward losses', whatever is computed again.

    Args:
      params, batch: arrays or their shapes.
    """
    key = jax.random.key(0)
    return 3 * sum(
        matmul_flops(partial(objective.loss, player), params, batch, key)
        for player in objective.players
    )


def _flops(jaxpr: Jaxpr) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        match eqn.primitive.name:
            case "dot_general":
                (contracted, _), _ = eqn.params["dimension_numbers"]
                shape = eqn.invars[0].aval.shape
                depth = math.prod(shape[d] for d in contracted)
                total += 2 * eqn.outvars[0].aval.size * depth
            case "conv_general_dilated":
                kernel = eqn.invars[1].aval
                outputs = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
                total += 2 * eqn.outvars[0].aval.size * kernel.size // outputs
            case "scan":
                total += eqn.params["length"] * sum(map(_flops, _inner(eqn.params)))
            case "cond":
                total += max(map(_flops, _inner(eqn.params)))
            case "while":
                pass
            case _:
                total += sum(map(_flops, _inner(eqn.params)))
    return total


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The jaxprs among an equation's parameters: of a scan, an inner jit, a remat, ..."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


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
