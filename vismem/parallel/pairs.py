"""Sums over the wrong pairs of two batches that are sharded over a mesh, as contrastive losses need
them: of picture i and text j where text j is not text i.

The logits x @ y.T of a global batch of B are never whole anywhere: each device keeps its own b rows
of x, while the shards of y go from device to device in a ring until they are home again. A device
holds b x b logits at a time, forward and backward, however many devices there are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from vismem.parallel.mesh import batch_shards
from vismem.parallel.rules import RULES

Array = jax.Array
AXES = RULES["batch"]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def logsumexp(mesh: Mesh, x: Array, y: Array, tokens: Array) -> tuple[Array, Array]:
    """Log-sum-exps of the wrong pairs' logits x @ y.T along both axes.

    Args:
      mesh: over whose data axes the batches are sharded.
      x, y: float32 [B, E]; x[i] and y[i] are a right pair.
      tokens: int32 [B, L], the text of each; a pair is wrong where their texts differ.

    Returns:
      [B] over the wrong y for each x, and [B] over the wrong x for each y; -inf where there are
      none.
    """

    def block(own: Any, guest: Any) -> tuple[Any, Any]:
        (x, mine, rows), (y, theirs, columns) = own, guest
        logits = jnp.where(equal(mine, theirs), -jnp.inf, x @ y.T)
        rows = jnp.logaddexp(rows, jax.nn.logsumexp(logits, axis=1))
        columns = jnp.logaddexp(columns, jax.nn.logsumexp(logits, axis=0))
        return (x, mine, rows), (y, theirs, columns)

    nothing = jnp.full(len(x), -jnp.inf)
    (*_, rows), (*_, columns) = ring(mesh, block, (x, tokens, nothing), (y, tokens, nothing))
    return rows, columns


def _logsumexp_forward(mesh: Mesh, x: Array, y: Array, tokens: Array) -> tuple[Any, Any]:
    rows, columns = logsumexp(mesh, x, y, tokens)
    return (rows, columns), (x, y, tokens, rows, columns)


def _logsumexp_backward(mesh: Mesh, kept: Any, gradients: Any) -> tuple[Array, Array, None]:
    x, y, tokens, rows, columns = kept
    by_rows, by_columns = gradients

    def block(own: Any, guest: Any) -> tuple[Any, Any]:
        (x, mine, rows, by_rows, to_x), (y, theirs, columns, by_columns, to_y) = own, guest
        logits = x @ y.T
        by_logits = by_rows[:, None] * jnp.exp(logits - rows[:, None])
        by_logits += by_columns * jnp.exp(logits - columns)
        by_logits = jnp.where(equal(mine, theirs), 0, by_logits)
        to_x, to_y = to_x + by_logits @ y, to_y + by_logits.T @ x
        return (x, mine, rows, by_rows, to_x), (y, theirs, columns, by_columns, to_y)

    own = (x, tokens, rows, by_rows, jnp.zeros_like(x))
    guest = (y, tokens, columns, by_columns, jnp.zeros_like(y))
    own, guest = ring(mesh, block, own, guest)
    return own[-1], guest[-1], None


logsumexp.defvjp(_logsumexp_forward, _logsumexp_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def softplus(mesh: Mesh, x: Array, y: Array, tokens: Array) -> Array:
    """Sums over the wrong y of the softplus of the logits x @ y.T, [B] for each x; arguments as
    above."""

    def block(own: Any, guest: Any) -> tuple[Any, Any]:
        (x, mine, sums), (y, theirs) = own, guest
        each = jnp.where(equal(mine, theirs), 0, jax.nn.softplus(x @ y.T))
        return (x, mine, sums + each.sum(1)), guest

    (*_, sums), _ = ring(mesh, block, (x, tokens, jnp.zeros(len(x))), (y, tokens))
    return sums


def _softplus_forward(mesh: Mesh, x: Array, y: Array, tokens: Array) -> tuple[Array, Any]:
    return softplus(mesh, x, y, tokens), (x, y, tokens)


def _softplus_backward(mesh: Mesh, kept: Any, gradient: Array) -> tuple[Array, Array, None]:
    x, y, tokens = kept

    def block(own: Any, guest: Any) -> tuple[Any, Any]:
        (x, mine, by_sums, to_x), (y, theirs, to_y) = own, guest
        by_logits = by_sums[:, None] * jax.nn.sigmoid(x @ y.T)
        by_logits = jnp.where(equal(mine, theirs), 0, by_logits)
        return (x, mine, by_sums, to_x + by_logits @ y), (y, theirs, to_y + by_logits.T @ x)

    own, guest = (x, tokens, gradient, jnp.zeros_like(x)), (y, tokens, jnp.zeros_like(y))
    own, guest = ring(mesh, block, own, guest)
    return own[-1], guest[-1], None


softplus.defvjp(_softplus_forward, _softplus_backward)


def equal(mine: Array, theirs: Array) -> Array:
    """Which of two lots of texts, int32 [b, L] each, are equal token for token: bool [b, b]."""
    return (mine[:, None] == theirs).all(-1)


def ring(
    mesh: Mesh, block: Callable[[Any, Any], tuple[Any, Any]], own: Any, guest: Any
) -> tuple[Any, Any]:
    """`block` of every device's rows with every shard of the guests, with products in float32: by
    default accelerators round logits and their bias further than right and wrong texts differ.

    Args:
      block: (own, guest) -> both with what the pairing adds; of one shard each, [b, ...].
      own: tree of arrays [B, ...], each shard of which stays where it is.
      guest: tree of arrays [B, ...], whose shards go round.
    """
    devices = batch_shards(mesh)
    neighbours = [(i, (i + 1) % devices) for i in range(devices)]

    def turn(_: int, both: Any) -> tuple[Any, Any]:
        own, guest = block(*both)
        return own, jax.lax.ppermute(guest, AXES, neighbours)

    def run(own: Any, guest: Any) -> tuple[Any, Any]:
        return jax.lax.fori_loop(0, devices, turn, (own, guest))

    spec = PartitionSpec(AXES)
    with jax.default_matmul_precision("float32"):
        return jax.shard_map(run, mesh=mesh, in_specs=(spec, spec), out_specs=(spec, spec))(
            own, guest
        )
