"""Sharding is data: a table from the logical axes of parameters to axes of the mesh."""

import math
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# Logical axis -> mesh axes. An axis that is not listed is replicated.
RULES: dict[str, tuple[str, ...]] = {
    "batch": ("slices", "data", "fsdp"),
    "embed": ("fsdp",),
    "mlp": ("tensor",),
    "heads": ("tensor",),
    "vocab": ("tensor",),
}


def spec(axes: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """The mesh axes of an array with logical `axes` and `shape`.

    A dimension that its mesh axes do not divide is replicated, and so is one whose mesh axes an
    earlier dimension has taken.
    """
    taken: set[str] = set()
    parts = []
    for axis, size in zip(axes, shape, strict=True):
        over = tuple(a for a in RULES.get(axis, ()) if mesh.shape[a] > 1)
        if taken & set(over) or size % math.prod(mesh.shape[a] for a in over):
            over = ()
        taken |= set(over)
        parts.append(over or None)
    return PartitionSpec(*parts)


def shardings(abstract: Any, mesh: Mesh) -> Any:
    """Shardings of a tree of parameters: the tree's structure once it is unboxed.

    Args:
      abstract: `jax.eval_shape` of an initialiser; leaves boxed by `nn.with_logical_partitioning`
        are sharded by the rules, others replicated.
    """

    def one(leaf: Any) -> NamedSharding:
        if isinstance(leaf, nn.Partitioned):
            return NamedSharding(mesh, spec(leaf.names, leaf.value.shape, mesh))
        return replicated(mesh)

    return jax.tree.map(one, abstract, is_leaf=lambda x: isinstance(x, nn.Partitioned))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis is the batch's; the others are whole."""
    return NamedSharding(mesh, PartitionSpec(RULES["batch"]))
