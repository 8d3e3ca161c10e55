"""The mesh: how devices are laid out. One device is a mesh of one."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from vismem.errors import UserError


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; one axis may be -1, which takes all that the others leave.

    Attributes:
      data: copies of the parameters, each with a part of the batch.
      fsdp: parts the batch, and the parameters too.
      tensor: parts each layer's heads and hidden units.
      slices: of TPUs, or hosts of GPUs, that a slower network joins: copies of the parameters too.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    slices: int = 1


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the axes of `config` over `devices` (all of them by default)."""
    devices = jax.devices() if devices is None else list(devices)
    shape = dataclasses.asdict(config)
    written = ", ".join(f"mesh.{axis}={size}" for axis, size in shape.items())
    for axis, size in shape.items():
        if size != -1 and size < 1:
            raise UserError(f"mesh.{axis}={size}: must be at least 1, or -1 for what is left")
    free = [axis for axis, size in shape.items() if size == -1]
    if len(free) > 1:
        raise UserError(f"{written}: only one axis may be -1; set mesh.{free[1]}=1")
    fixed = math.prod(size for size in shape.values() if size != -1)
    if free:
        if len(devices) % fixed:
            raise UserError(
                f"{written}: the axes that are set take {fixed} devices, which does not divide the "
                f"{len(devices)} here; their product may be {_either(_divisors(len(devices)))}"
            )
        shape[free[0]] = len(devices) // fixed
    elif fixed != len(devices):
        raise UserError(
            f"{written}: takes {fixed} devices, but there are {len(devices)}; "
            "mesh.data=-1 takes all that the others leave"
        )
    slices, auto = shape.pop("slices"), (AxisType.Auto,)
    devices = sorted(devices, key=lambda device: getattr(device, "slice_index", 0))
    size = len(devices) // slices
    grids = [  # each laid out as the network within a slice has it
        jax.make_mesh(tuple(shape.values()), tuple(shape), auto * len(shape), devices=part).devices
        for part in (devices[i : i + size] for i in range(0, len(devices), size))
    ]
    return Mesh(np.stack(grids), ("slices", *shape), axis_types=auto * (1 + len(shape)))


def batch_shards(mesh: Mesh) -> int:
    """Parts that the batch is cut into."""
    return mesh.shape["slices"] * mesh.shape["data"] * mesh.shape["fsdp"]


def check_batch(batch_size: int, mesh: Mesh, accumulate: int = 1) -> None:
    """One line, if `batch_size` does not divide over the mesh and the microbatches of a step."""
    parts = batch_shards(mesh) * accumulate
    if batch_size % parts:
        near = sorted({max(1, batch_size // parts) * parts, -(-batch_size // parts) * parts})
        raise UserError(
            f"batch_size={batch_size}: must be a multiple of {parts} (mesh.slices "
            f"{mesh.shape['slices']} x mesh.data {mesh.shape['data']} x mesh.fsdp "
            f"{mesh.shape['fsdp']} x optimizer.accumulate {accumulate}); {_either(near)} would fit"
        )


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _either(values: Sequence[int]) -> str:
    return " or ".join(map(str, values))
