"""The objective's loss on held-out examples."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from vismem import data as examples
from vismem.data import DataConfig, pipeline
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.objectives.base import Objective
from vismem.parallel import hosts
from vismem.parallel.mesh import batch_shards
from vismem.random import named_key


class ValidationLoss:
    """The mean loss over the first examples of a split, with the same noise every time.

    Args:
      objective, tokenizer, mesh, data, seed: the run's.
      split: of the source.
      count: examples; no more than there are, rounded down to whole batches.
      batch_size: examples at a time, over all devices.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        tokenizer: Tokenizer,
        mesh: Mesh,
        data: DataConfig,
        seed: int,
        split: str = "val",
        count: int = 1024,
        batch_size: int = 128,
    ):
        source = examples.source(data, split)
        self.split, self.mesh = split, mesh
        count, parts = min(count, len(source)), batch_shards(mesh)
        batch_size = min(batch_size, count) // parts * parts
        if not batch_size:
            raise UserError(
                f"evaluators: loss finds {count} examples of {split!r} for a mesh that cuts a "
                f"batch into {parts} parts; raise count and batch_size, or take a larger split"
            )
        self.batches = count // batch_size
        self.open = lambda: pipeline.batches(
            data,
            source,
            tokenizer,
            batch_size,
            seed,
            train=False,
        )

        def loss(params: Any, batch: Any, index: jax.Array) -> dict[str, jax.Array]:
            key = jax.random.fold_in(named_key(jax.random.key(seed), "validation"), index)
            return {
                player: objective.loss(player, params, batch, key, train=False)[0]
                for player in objective.players
            }

        self.loss = jax.jit(loss)

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`val/loss`, and with several players `val/loss/player` for each."""
        iterator = self.open()
        rows = [
            self.loss(state["ema"], hosts.put(next(iterator), self.mesh), i)
            for i in range(self.batches)
        ]
        iterator.close()
        means = {p: sum(float(row[p]) for row in rows) / len(rows) for p in rows[0]}
        total = {f"{self.split}/loss": sum(means.values())}
        if len(means) > 1:
            total |= {f"{self.split}/loss/{player}": value for player, value in means.items()}
        return total
