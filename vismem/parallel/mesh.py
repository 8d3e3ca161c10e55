"""The mesh: how devices are laid out. One device is a mesh of one."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
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

    def __post_init__(self):
        for axis, size in dataclasses.asdict(self).items():
            if size != -1 and size < 1:
                raise UserError(f"mesh.{axis}={size}: must be at least 1, or -1 for what is left")
        if len(free := self.free()) > 1:
            raise UserError(f"{self}: only one axis may be -1; set mesh.{free[1]}=1")

    def __str__(self) -> str:
        return ", ".join(f"mesh.{axis}={size}" for axis, size in dataclasses.asdict(self).items())

    def free(self) -> list[str]:
        """Axes that are -1."""
        return [axis for axis, size in dataclasses.asdict(self).items() if size == -1]


def axis_sizes(config: MeshConfig, devices: int) -> dict[str, int]:
    """Axis -> its size, over so many devices.

    Raises:
      UserError: the mesh cannot be laid over them.
    """
    sizes = dataclasses.asdict(config)
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if free := config.free():
        if devices % fixed:
            raise UserError(
                f"{config}: the axes that are set take {fixed} devices, which does not divide the "
                f"{devices} here; their product may be {_either(_divisors(devices))}"
            )
        sizes[free[0]] = devices // fixed
    elif fixed != devices:
        raise UserError(
            f"{config}: takes {fixed} devices, but there are {devices}; "
            "mesh.data=-1 takes all that the others leave"
        )
    return sizes


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the axes of `config` over `devices` (all of them by default)."""
    devices = jax.devices() if devices is None else list(devices)
    shape = axis_sizes(config, len(devices))
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
    return _shards(mesh.shape)


def _shards(sizes: Mapping[str, int]) -> int:
    return sizes["slices"] * sizes["data"] * sizes["fsdp"]


def check_batch(batch_size: int, sizes: Mapping[str, int], accumulate: int = 1) -> None:
    """One line, if `batch_size` does not divide over a mesh with axes of these `sizes` and the
    microbatches of a step."""
    parts = _shards(sizes) * accumulate
    if batch_size % parts:
        near = sorted({max(1, batch_size // parts) * parts, -(-batch_size // parts) * parts})
        raise UserError(
            f"batch_size={batch_size}: must be a multiple of {parts} (mesh.slices "
            f"{sizes['slices']} x mesh.data {sizes['data']} x mesh.fsdp "
            f"{sizes['fsdp']} x optimizer.accumulate {accumulate}); {_either(near)} would fit"
        )


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _either(values: Sequence[int]) -> str:
    return " or ".join(map(str, values))
