"""Low-rank adapters (Hu et al. 2021, "LoRA"): a frozen kernel W acts as W + (alpha / rank) A B.

The adapters of the parameter NAME, [..., out], are NAME_lora_a [in, rank] and NAME_lora_b [rank,
out] beside it, where in is the product of all axes but the last. Modules know nothing of them: they
are merged into their kernels before a module is applied.
"""

import math
from dataclasses import dataclass

import flax.linen as nn
import jax
from flax.traverse_util import unflatten_dict

from vismem.errors import UserError
from vismem.objectives.base import Params
from vismem.random import named_key
from vismem.training.names import match, names

A, B = "_lora_a", "_lora_b"


@dataclass(frozen=True)
class LoraConfig:
    """Which parameters are tuned through adapters.

    Attributes:
      kernels: regex searched for in the names of parameters with two axes or more; "" for none.
      rank: of the adapters. alpha: over the rank, the factor of their product.
    """

    kernels: str = ""
    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self):
        if self.rank < 1:
            raise UserError(f"optimizer.lora.rank={self.rank}: must be at least 1")


def add(config: LoraConfig, params: Params, key: jax.Array) -> Params:
    """Parameters {player: tree}, boxed with their logical axes, and the adapters of those chosen.

    B starts at zero: what has fresh adapters computes what it did without them.
    """
    if not config.kernels:
        return params
    flat = names(params)
    kernels = {n: p for n, p in flat.items() if nn.unbox(p).ndim > 1}
    rules = ((config.kernels, True),)
    chosen = match(rules, kernels, "optimizer.lora.kernels", lambda name: False)
    box = nn.with_logical_partitioning
    for name, kernel in kernels.items():
        if chosen[name]:
            *rows, columns = nn.unbox(kernel).shape
            axes = getattr(kernel, "names", (None,) * (len(rows) + 1))
            size = math.prod(rows)
            over = axes[0] if len(rows) == 1 else None
            make_a = box(nn.initializers.normal(size**-0.5), (over, None))
            make_b = box(nn.initializers.zeros, (None, axes[-1]))
            flat[name + A] = make_a(named_key(key, name), (size, config.rank))
            flat[name + B] = make_b(key, (config.rank, columns))
    return unflatten_dict(flat, sep="/")


def merge(config: LoraConfig, params: Params) -> Params:
    """Parameters {player: tree} with the adapters in their kernels, as modules have them."""
    flat = names(params)
    scale = config.alpha / config.rank

    def merged(name: str) -> jax.Array:
        if name + A not in flat:
            return flat[name]
        return flat[name] + scale * (flat[name + A] @ flat[name + B]).reshape(flat[name].shape)

    return unflatten_dict({n: merged(n) for n in flat if not n.endswith((A, B))}, sep="/")
