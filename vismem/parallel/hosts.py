"""The hosts of a run: each reads its own share of a batch and puts it on the devices it holds."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from vismem.errors import UserError
from vismem.parallel import rules


def share(batch_size: int) -> int:
    """Examples of a batch that this host reads."""
    hosts = jax.process_count()
    if batch_size % hosts:
        fits = -(-batch_size // hosts) * hosts
        raise UserError(
            f"batch_size={batch_size}: does not divide over {hosts} hosts; {fits} would"
        )
    return batch_size // hosts


def global_shapes(batch: Mapping[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a batch over all hosts, [B, ...], from this host's rows [b, ...]."""
    hosts = jax.process_count()
    return {
        k: jax.ShapeDtypeStruct((hosts * len(v), *v.shape[1:]), v.dtype) for k, v in batch.items()
    }


def put(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This host's rows of a batch, [b, ...] each, as arrays [B, ...] sharded over the mesh."""
    sharding = rules.batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
