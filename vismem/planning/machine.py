"""Devices of machines that are not here, as their compilers describe them."""

import importlib.util
import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from launch import topology
from vismem.errors import UserError
from vismem.planning.chips import CHIPS, Chip

# libtpu is to compile only: it must neither look for a TPU nor ask the cloud which one it is on.
QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}


def devices(name: str, slices: int = 1) -> tuple[Chip, Sequence[jax.Device]]:
    """The chip of a topology and all devices of it; programs can be compiled for these, not run.

    Args:
      name: as launchers have it, "v5e:16x16".
      slices: of that shape.
    """
    asked = topology.parse(name)
    kind = name.partition(":")[0]
    if not asked.tpu:
        raise UserError(f"--topology {name}: plans are for TPUs so far, such as v5e:16x16")
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("plan: needs TPUs' compiler, libtpu; pip install 'vismem[plan]'")
    os.environ.update({k: v for k, v in QUIET.items() if k not in os.environ})
    jax.config.update("jax_platforms", "cpu")
    options = {"num_slices": slices} if slices > 1 else {}
    if kind == "v4":
        options["chip_config_name"] = "megacore"  # a chip's two cores are one device
    if asked.chips == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    except Exception as error:  # the plugin raises bare errors for shapes that do not exist
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"--topology {name}: libtpu knows no such slice ({reason})") from error
    return CHIPS[kind], found.devices
