"""The train state, made in its shards: a model larger than one host never exists in one place.

A state is a dict: `params` {player: tree} with adapters beside their kernels (lora.py), `ema`, the
average of what the objective is given, so with adapters merged, `opt` {player: optimizer state},
`step` int32, the number of updates made, and `key`, the data of the run's random key.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict
from jax.sharding import Mesh
from jax.tree_util import DictKey

from vismem.errors import UserError
from vismem.objectives.base import Objective, Params
from vismem.parallel import rules
from vismem.random import named_key
from vismem.training import lora
from vismem.training.names import Flat, names
from vismem.training.optimizer import OptimizerConfig, make_optimizer

State = dict[str, Any]
Shapes = Mapping[str, jax.ShapeDtypeStruct]


class Layout:
    """What is known of a run's state before any of it exists.

    Attributes:
      optimizer: moves the parameters.
      shapes: the state's arrays as `jax.ShapeDtypeStruct`s with their shardings.
      shardings: of each of them.

    Args:
      batch: shape and dtype of each array of a batch.
      steps: of the whole run.

    Raises:
      UserError: the batch lacks what the objective learns from.
    """

    def __init__(
        self,
        objective: Objective,
        config: OptimizerConfig,
        batch: Shapes,
        mesh: Mesh,
        steps: int,
    ):
        self.objective, self.lora, self.batch = objective, config.lora, batch
        key = jax.random.key(0)
        try:
            boxed = jax.eval_shape(self._boxed, key)
        except KeyError as error:
            if error.args[0] in batch:
                raise
            raise UserError(
                f"objective: needs {error} of data, which data.source does not have; "
                "choose another of the two"
            ) from error
        params = nn.unbox(boxed)
        # What belongs to no player stays as it is.
        lent = tuple((f"^{name}/", True) for name in params if name not in objective.players)
        config = dataclasses.replace(config, freeze=(*lent, *config.freeze))
        self.optimizer = make_optimizer(config, params, steps, objective.players)
        abstract = jax.eval_shape(self._make, jax.random.key_data(key), {})
        by_name = names(rules.shardings(boxed, mesh))
        rules.warn_of_whole(names(params), by_name)
        shape_of = {name: p.shape for name, p in names(params).items()}

        def like_parameter(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Any:
            # Optimizer states hold trees keyed by parameter name; what has the parameter's shape is
            # sharded as it is, the rest (counts, factored moments) is small and replicated.
            for entry in path:
                if isinstance(entry, DictKey) and shape_of.get(entry.key) == leaf.shape:
                    return by_name[entry.key]
            return rules.replicated(mesh)

        plain = {name: by_name[name] for name in names(abstract["ema"])}
        self.shardings = {
            "params": rules.shardings(boxed, mesh),
            "opt": jax.tree_util.tree_map_with_path(like_parameter, abstract["opt"]),
            "ema": unflatten_dict(plain, sep="/"),
            "step": rules.replicated(mesh),
            "key": rules.replicated(mesh),
        }
        self.shapes = jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
            abstract,
            self.shardings,
        )

    def init(self, seed: int, given: Flat | None = None) -> State:
        """The state before the first step; each device makes its own shards.

        Args:
          given: parameters that are not drawn at random, by name.
        """
        key = jax.random.key_data(jax.random.key(seed))
        return jax.jit(self._make, out_shardings=self.shardings)(key, given or {})

    def parameters(self) -> int:
        """How many parameters all players have, adapters included."""
        return sum(p.size for p in jax.tree.leaves(self.shapes["params"]))

    def _boxed(self, key: jax.Array) -> Params:
        """Initial parameters with their logical axes."""
        batch = {name: jnp.zeros(x.shape, x.dtype) for name, x in self.batch.items()}
        params = self.objective.init(named_key(key, "init"), batch)
        return lora.add(self.lora, params, named_key(key, "lora"))

    def _make(self, key_data: jax.Array, given: Flat) -> State:
        drawn = nn.unbox(self._boxed(jax.random.wrap_key_data(key_data)))
        params = self.optimizer.stored(unflatten_dict({**names(drawn), **given}, sep="/"))
        opt = {
            player: transform.init(self.optimizer.split(player, params[player])[0])
            for player, transform in self.optimizer.players.items()
        }
        # The average starts as a copy: the step donates its state, and no buffer twice.
        ema = jax.tree.map(jnp.copy, self.optimizer.merged(params))
        step = jnp.zeros((), jnp.int32)
        return {"params": params, "opt": opt, "ema": ema, "step": step, "key": key_data}
