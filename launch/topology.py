"""Machines by name, "v5e:16x16" or "h100:2x8": their chips and hosts, and the runs that fit."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vismem.errors import UserError
from vismem.registry import nearest

if TYPE_CHECKING:
    from vismem.config import RunConfig


@dataclass(frozen=True)
class Kind:
    """A kind of accelerator.

    Attributes:
      axes: of its slices. on_one_host: chips that a slice of a single host may have.
      gke: the label of its node pools.
      gcloud: its name in accelerator types, whose number counts `units` a chip.
      runtime: the software version of its TPU VMs.
    """

    axes: int
    on_one_host: int
    gke: str
    gcloud: str = ""
    units: int = 1
    runtime: str = ""


# From cloud.google.com/tpu/docs and cloud.google.com/kubernetes-engine/docs/concepts/tpus. A slice
# of several hosts has four chips on each. GPUs are named HOSTSxGPUS.
KINDS = {
    "v4": Kind(3, 4, "tpu-v4-podslice", "v4", 2, "tpu-ubuntu2204-base"),
    "v5e": Kind(2, 8, "tpu-v5-lite-podslice", "v5litepod", 1, "v2-alpha-tpuv5-lite"),
    "v5p": Kind(3, 4, "tpu-v5p-slice", "v5p", 2, "v2-alpha-tpuv5"),
    "v6e": Kind(2, 8, "tpu-v6e-slice", "v6e", 1, "v2-alpha-tpuv6e"),
    "a100": Kind(2, 8, "nvidia-a100-80gb"),  # nvidia-tesla-a100 has 40 GB; plans reckon with 80
    "h100": Kind(2, 8, "nvidia-h100-80gb"),
    "h200": Kind(2, 8, "nvidia-h200-141gb"),
}
CHIPS_A_HOST = 4


@dataclass(frozen=True)
class Topology:
    """A slice of TPUs, or hosts with GPUs.

    Attributes:
      name: "v5e:16x16". shape: (16, 16).
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]

    @property
    def tpu(self) -> bool:
        return bool(self.kind.gcloud)

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def hosts(self) -> int:
        if not self.tpu:
            return self.shape[0]
        return 1 if self.chips <= self.kind.on_one_host else self.chips // CHIPS_A_HOST


def parse(name: str) -> Topology:
    """The topology of a name."""
    kind, _, shape = name.partition(":")
    if kind not in KINDS:
        raise UserError(f"--topology {name}: unknown kind; {nearest(kind, KINDS)}")
    found, axes = KINDS[kind], KINDS[kind].axes
    sizes = tuple(int(size) for size in shape.split("x") if re.fullmatch("[1-9][0-9]*", size))
    if len(sizes) != axes or len(sizes) != len(shape.split("x")):
        example = f"{kind}:{'x'.join('4' * axes)}"
        raise UserError(f"--topology {name}: {kind} has {axes} sizes, as in {example}")
    topology = Topology(name, found, sizes)
    if topology.tpu and topology.hosts > 1 and topology.chips % CHIPS_A_HOST:
        raise UserError(f"--topology {name}: hosts have {CHIPS_A_HOST} chips each, this has a rest")
    if not topology.tpu and sizes[1] > found.on_one_host:
        raise UserError(f"--topology {name}: a host has at most {found.on_one_host} {kind}")
    return topology


def cpu_devices(environment: Mapping[str, str]) -> int:
    """What a process without accelerators has: one, unless XLA's flags make it several."""
    flag = r"xla_force_host_platform_device_count=(\d+)"
    forced = re.findall(flag, environment.get("XLA_FLAGS", ""))
    return int(forced[-1]) if forced else 1


def check(config: "RunConfig", hosts: int, devices: int, kind: str) -> None:
    """One line, if the mesh of a run cannot be laid over so many devices, or its batch over that.

    Args:
      kind: of the devices; those of TPUs are one slice.
    """
    from vismem.parallel.mesh import axis_sizes, check_batch  # which import jax

    slices = config.mesh.slices
    try:
        if kind == "tpu" and slices > 1:
            raise UserError(
                f"mesh.slices={slices}: a run is sent to one slice; choose a larger one and set "
                "mesh.slices=1"
            )
        if kind == "gpu" and hosts % max(1, slices):
            raise UserError(f"mesh.slices={slices}: does not divide the {hosts} hosts")
        sizes = axis_sizes(config.mesh, devices)
        check_batch(config.batch_size, sizes, config.optimizer.accumulate)
        # As hosts.share has it; a slice of TPUs is laid out by its network, not host by host.
        copies, each = sizes["tensor"], devices // hosts
        if kind != "tpu" and copies % each and each % copies:
            raise UserError(
                f"mesh.tensor={copies}: hosts of {each} devices would share rows of the batch "
                f"unevenly; choose a divisor or a multiple of {each}"
            )
    except UserError as error:
        raise UserError(f"{error} ({devices} devices, {hosts} hosts; nothing is sent)") from None
