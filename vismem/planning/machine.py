"""Devices of machines that are not here, as their compilers describe them."""

import importlib.util
import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from launch import topology
from vismem.errors import UserError
from vismem.planning.chips import CHIPS, GPUS, Chip

# libtpu is to compile only: it must neither look for a TPU nor ask the cloud which one it is on.
QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}


# What all of NVIDIA's GPUs since 2020 have in common, in XLA's words, and what differs.
TARGET = """
gpu_device_info {{
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: {block}
  shared_memory_per_core: {shared} l2_cache_size: {cache}
  core_count: {cores} fpus_per_core: {units} clock_rate_ghz: {clock}
  memory_bandwidth: {bandwidth} device_memory_size: {memory}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{kind}"
"""


def devices(name: str, slices: int = 1) -> tuple[Chip, Sequence[jax.Device]]:
    """The chip of a topology and all devices of it; programs can be compiled for these, not run.

    Args:
      name: as launchers have it, "v5e:16x16" or, of hosts and GPUs of each, "h100:1x8".
      slices: of that shape, if it is a TPU's; the hosts of GPUs are grouped in so many.
    """
    slices = max(1, slices)
    asked = topology.parse(name)
    kind = name.partition(":")[0]
    jax.config.update("jax_platforms", "cpu")
    if asked.tpu:
        return CHIPS[kind], _tpus(asked, kind, slices)
    return GPUS[kind], _gpus(asked, kind, slices)


def has_slower_links(name: str, slices: int) -> bool:
    """Whether a slower network than the chips' own links joins parts of a topology: several slices,
    or several hosts of GPUs."""
    asked = topology.parse(name)
    return slices > 1 or (not asked.tpu and asked.hosts > 1)


def _tpus(asked: topology.Topology, kind: str, slices: int) -> Sequence[jax.Device]:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("plan: needs TPUs' compiler, libtpu; pip install 'vismem[plan]'")
    os.environ.update({k: v for k, v in QUIET.items() if k not in os.environ})
    options = {"num_slices": slices} if slices > 1 else {}
    if kind == "v4":
        options["chip_config_name"] = "megacore"  # a chip's two cores are one device
    if asked.chips == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=asked.name, **options)
    except Exception as error:  # the plugin raises bare errors for shapes that do not exist
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"--topology {asked.name}: libtpu knows no such slice ({reason})"
        ) from error
    return found.devices


def _gpus(asked: topology.Topology, kind: str, slices: int) -> Sequence[jax.Device]:
    if importlib.util.find_spec("jax_cuda12_plugin") is None:
        raise UserError("plan: needs GPUs' compiler; pip install 'vismem[plan-gpu]'")
    gpu = GPUS[kind]
    (major, minor), block = gpu.capability, gpu.shared - 1024  # a block's share is 1 KiB less
    target = TARGET.format(
        **{"kind": kind, "major": major, "minor": minor, "block": block},
        **{"shared": gpu.shared, "cache": gpu.cache, "cores": gpu.cores, "units": gpu.units},
        **{"clock": gpu.clock, "bandwidth": int(gpu.bandwidth), "memory": int(gpu.memory)},
    )
    hosts, each = asked.shape
    if hosts % slices:
        raise UserError(f"mesh.slices={slices}: does not divide the {hosts} hosts of {asked.name}")
    shape = f"{slices}x{hosts // slices}x{each}"
    try:
        found = topologies.get_topology_desc(platform="cuda", target_config=target, topology=shape)
    except Exception as error:  # bare ones, where its version is not jax's
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"plan: GPUs' compiler does not start ({reason}); install jax's version"
        ) from error
    return found.devices
