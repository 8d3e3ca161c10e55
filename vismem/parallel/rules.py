"""Sharding is data: a table from the logical axes of parameters to axes of the mesh."""

import logging
import math
from collections.abc import Mapping
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
LARGE = 10**6  # numbers; what is smaller may be whole on every device
NAMED = 10  # parameters that a warning names


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


def constrain(x: jax.Array, features: str | None = None) -> jax.Array:
    """Activations [B, ..., F], their examples over the mesh as the batch's are.

    Parameters and examples are parted over the same devices. Left alone, the compiler may well
    gather the examples, to multiply all of them with each device's part of a kernel.

    Args:
      features: logical axis of F.

    Returns:
      x itself, where the function is not traced for a mesh (training/step.py).
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    axes = ("batch", *(None,) * (x.ndim - 2), features)
    return jax.lax.with_sharding_constraint(x, spec(axes, x.shape, mesh))


def platform() -> str:
    """What a function is traced for: "cpu", "gpu", "tpu".

    A step is traced for its mesh's devices (training/step.py), which need not be of this machine
    where it is only planned; anything else for this machine's.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


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


def warn_of_whole(
    shapes: Mapping[str, jax.ShapeDtypeStruct], shardings: Mapping[str, NamedSharding]
) -> None:
    """A warning that names the large parameters which the mesh should part and does not, or ten of
    them and how many more there are."""
    whole = [n for n, s in shardings.items() if shapes[n].size >= LARGE and not any(s.spec)]
    mesh = next(iter(shardings.values())).mesh.shape
    if whole and mesh["fsdp"] * mesh["tensor"] > 1:
        named = [f"{name} {shapes[name].shape}" for name in whole[:NAMED]]
        more = [f"{len(whole) - NAMED} more"] * (len(whole) > NAMED)
        logging.getLogger(__name__).warning(
            "whole on every device, as mesh.fsdp=%d and mesh.tensor=%d part none of the axes: %s",
            *(mesh["fsdp"], mesh["tensor"], ", ".join(named + more)),
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis is the batch's; the others are whole."""
    return NamedSharding(mesh, PartitionSpec(RULES["batch"]))
