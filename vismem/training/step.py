"""One update: (state, batch) -> (state, metrics), a pure function of any objective."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from vismem.objectives.base import Batch, Metrics, Objective
from vismem.parallel import rules
from vismem.random import named_key
from vismem.training.names import Flat
from vismem.training.optimizer import Optimizer
from vismem.training.state import State

TrainStep = Callable[[State, Batch], tuple[State, Metrics]]


def make_train_step(
    objective: Objective, optimizer: Optimizer, ema: float, accumulate: int = 1
) -> TrainStep:
    """The update, to be jitted.

    Args:
      ema: decay of the average of the parameters; it ramps up as min(ema, (1 + step) / (10 + step))
        so that the random initial parameters are soon forgotten.
      accumulate: microbatches whose mean gradient makes one update.

    Returns:
      A function of a state and a batch; its metrics are float32 scalars: `loss`, `grad_norm` before
      clipping, `lr`, and the objective's own. With several players, theirs are "player/name" and
      `loss` is the sum.
    """

    def train_step(state: State, batch: Batch) -> tuple[State, Metrics]:
        step = state["step"]
        key = jax.random.fold_in(jax.random.wrap_key_data(state["key"]), step)
        params, opt = dict(state["params"]), dict(state["opt"])
        metrics = {"loss": jnp.zeros(())}
        for turn, player in enumerate(objective.players):  # each sees what others have become
            again = objective.players[:turn].count(player)  # a player may move several times
            trained, frozen = optimizer.split(player, params[player])
            gradient, found = mean_gradient(
                partial(player_loss, objective, optimizer, player, params, frozen),
                trained,
                batch,
                named_key(key, f"loss {player}" + " again" * again),
                accumulate,
            )
            updates, opt[player] = optimizer.players[player].update(gradient, opt[player], trained)
            params[player] = optimizer.join(player, optax.apply_updates(trained, updates), frozen)
            found["grad_norm"] = optax.tree.norm(gradient)
            metrics["loss"] += found.pop("loss") if len(objective.players) == 1 else found["loss"]
            prefix = f"{player}/" if len(objective.players) > 1 else ""
            metrics |= {prefix + name: value for name, value in found.items()}
        metrics["lr"] = optimizer.schedule(step)
        decay = jnp.minimum(ema, (1 + step) / (10 + step))
        metrics = {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
        return {
            "params": params,
            "opt": opt,
            "ema": optimizer.averaged(state["ema"], params, decay),
            "step": step + 1,
            "key": state["key"],
        }, metrics

    return train_step


def player_loss(
    objective: Objective,
    optimizer: Optimizer,
    player: str,
    params: dict[str, Any],
    frozen: Flat,
    trained: Flat,
    batch: Batch,
    key: jax.Array,
) -> tuple[jax.Array, Metrics]:
    """A player's loss as a function of its trained parameters; all others are constants."""
    params = params | {player: optimizer.join(player, trained, frozen)}
    loss, metrics = objective.loss(player, optimizer.merged(params), batch, key)
    return loss, {**metrics, "loss": loss}


def mean_gradient(
    loss: Callable[[Flat, Batch, jax.Array], tuple[jax.Array, Metrics]],
    trained: Flat,
    batch: Batch,
    key: jax.Array,
    accumulate: int,
) -> tuple[Flat, Metrics]:
    """The loss's gradient and metrics, as means over `accumulate` microbatches."""
    gradient = jax.grad(loss, has_aux=True)
    if accumulate == 1:
        return gradient(trained, batch, key)

    def microbatches(x: jax.Array) -> jax.Array:
        # A microbatch takes rows from all over the batch: so each device finds its rows at home.
        return x.reshape(len(x) // accumulate, accumulate, *x.shape[1:]).swapaxes(0, 1)

    def add(total: Any, now: tuple[Batch, jax.Array]) -> tuple[Any, None]:
        index, microbatch = now
        found = gradient(trained, microbatch, jax.random.fold_in(key, index))
        return jax.tree.map(lambda t, f: t + f / accumulate, total, found), None

    split = jax.tree.map(microbatches, batch)
    shapes = jax.eval_shape(gradient, trained, jax.tree.map(lambda x: x[0], split), key)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.scan(add, zeros, (jnp.arange(accumulate), split))[0]


def compiled(train_step: TrainStep, shardings: Any, mesh: Mesh) -> Any:
    """`train_step` jitted for states with `shardings`, which it consumes: memory is reused."""

    def on_mesh(state: State, batch: Batch) -> tuple[State, Metrics]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # for `rules.constrain`
            return train_step(state, batch)

    return jax.jit(
        on_mesh,
        in_shardings=(shardings, rules.batch_sharding(mesh)),
        out_shardings=(shardings, rules.replicated(mesh)),
        donate_argnums=0,
    )
