"""The hosts of a run: how they meet, who reads which part of a batch, and what one does for all.

A host is a process of the run; on one machine there may be several.
"""

import atexit
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors import numpy as safetensors

from vismem.errors import UserError
from vismem.parallel import rules
from vismem.parallel.mesh import batch_shards

JOIN_TIMEOUT = 300  # seconds until all hosts must have come
HEARTBEAT_TIMEOUT = 30  # seconds of silence after which a host is dead, and jax ends the others


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Joins the hosts that the environment tells of, before anything else of jax; leaves with them.

    `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID` and `JAX_COORDINATOR_ADDRESS` say which this is, as the
    launchers set them; without an id jax asks the machine, as on TPU VMs. One process joins nobody.
    """
    count, index = os.environ.get("JAX_NUM_PROCESSES", "1"), os.environ.get("JAX_PROCESS_ID")
    if count == "1":
        yield
        return
    # Signals are training/signals.py's to handle; jax's own handler would swallow SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            num_processes=int(count),
            process_id=None if index is None else int(index),
            cluster_detection_method=None if index is None else "deactivate",
            initialization_timeout=JOIN_TIMEOUT,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=HEARTBEAT_TIMEOUT,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"JAX_NUM_PROCESSES={count}, JAX_PROCESS_ID={index or ''}: the processes did not meet "
            f"({error}); set both and JAX_COORDINATOR_ADDRESS, or none for a single process"
        ) from error
    try:
        yield
        multihost_utils.sync_global_devices("end")
    except Exception as error:
        # No leave is taken: the others wait for this one in the midst of a step. They end when they
        # hear nothing from it any more.
        atexit.register(_end, 2 if isinstance(error, UserError) else 1)
        if "gloo" in str(error).lower():  # jax words and types it in several ways
            raise UserError(
                "another process of this run has ended, see what it said; the same command in all "
                "of them goes on from the newest checkpoint"
            ) from error
        raise


def _end(code: int) -> None:
    sys.stdout.flush()
    os._exit(code)


def on_first(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function(*arguments)` returns on the first host, which alone calls it, on all of them.

    Files are written and drawings made so. All hosts must get here, and wait for the first.

    Args:
      function: returns what JSON can hold.
    """
    if jax.process_count() == 1:
        return function(*arguments)
    text = json.dumps(function(*arguments) if jax.process_index() == 0 else None).encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.frombuffer(text.ljust(length)[:length], np.uint8)
    return json.loads(multihost_utils.broadcast_one_to_all(padded).tobytes())


def gather(arrays: Mapping[str, np.ndarray] | None) -> list[dict[str, np.ndarray] | None]:
    """What every host gives, in their order, on all of them; None may be given instead of arrays.

    All hosts must get here.
    """
    if jax.process_count() == 1:
        return [arrays]
    # As bytes: jax would make float32 of float64, and shapes may differ.
    text = b"" if arrays is None else safetensors.save(dict(arrays))
    lengths = multihost_utils.process_allgather(np.int32(len(text)))
    padded = np.frombuffer(text.ljust(lengths.max(), b" "), np.uint8)
    found = multihost_utils.process_allgather(padded)
    return [
        safetensors.load(row[:length].tobytes()) if length else None
        for row, length in zip(found, lengths)
    ]


def local(tree: Any) -> Any:
    """Arrays of all hosts as arrays of this one: whole, in shards over the devices it has.

    All hosts must get here.
    """
    if jax.process_count() == 1:
        return tree

    def one(x: jax.Array) -> jax.Array:
        here = NamedSharding(x.sharding.mesh.local_mesh, x.sharding.spec)
        return jax.device_put(multihost_utils.process_allgather(x, tiled=True), here)

    return jax.tree.map(one, tree)


def share(mesh: Mesh) -> tuple[int, int]:
    """Which part of every batch this host reads, of how many parts.

    Hosts that a mesh axis other than the batch's joins read the same part.
    """
    held = _shards(mesh)
    parts = sorted(set(held))
    if sum(map(len, parts)) != batch_shards(mesh) or len({len(part) for part in parts}) > 1:
        raise UserError(
            f"mesh {dict(mesh.shape)}: its batch does not part evenly over {len(held)} hosts; "
            "choose axes that divide the devices of a host or are multiples of them"
        )
    return parts.index(held[jax.process_index()]), len(parts)


def is_first_reader(mesh: Mesh) -> bool:
    """Whether no host before this one reads the same part of every batch."""
    held, here = _shards(mesh), jax.process_index()
    return held[here] not in held[:here]


def _shards(mesh: Mesh) -> list[tuple[int, ...]]:
    """The shards of the batch that each host holds."""
    rows = mesh.devices.reshape(batch_shards(mesh), -1)  # [shards of the batch, their copies]
    held = [set() for _ in range(jax.process_count())]
    for shard, devices in enumerate(rows):
        for device in devices:
            held[device.process_index].add(shard)
    return [tuple(sorted(shards)) for shards in held]


def global_shapes(
    batch: Mapping[str, np.ndarray], batch_size: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a batch over all hosts, [B, ...], from this host's rows [b, ...]."""
    return {k: jax.ShapeDtypeStruct((batch_size, *v.shape[1:]), v.dtype) for k, v in batch.items()}


def put(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This host's rows of a batch, [b, ...] each, as arrays [B, ...] sharded over the mesh."""
    sharding = rules.batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def total(number: int, mesh: Mesh) -> jax.Array | int:
    """The sum of a number over all hosts, int32; on the devices, so that nobody waits for it yet.

    All hosts must ask at the same point. One alone has no need of its devices, which are busy.
    """
    if jax.process_count() == 1:
        return int(number)
    numbers = np.zeros(mesh.local_mesh.size, np.int32)
    numbers[0] = number
    over_all = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jnp.sum(jax.make_array_from_process_local_data(over_all, numbers))
