"""How parameters move: an optax optimizer by name, a schedule, and rules over parameter names
(names.py) like "generator/paint/block_0/mlp/up/kernel".
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import unflatten_dict

from vismem.errors import UserError
from vismem.models.layers import multiplies_bfloat16
from vismem.objectives.base import Params
from vismem.training import lora
from vismem.training.lora import LoraConfig
from vismem.training.names import Flat, match, names


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer of every player.

    Attributes:
      name: "sgd" has momentum b1; "muon" orthogonalises kernels and leaves the rest to adam;
        "normuon" then moves every output of a kernel alike.
      lr: peak learning rate.
      schedule: its course after the warmup: held, down to zero by a cosine or a line, down with
        the inverse root of the step, or held and let down by a line over the last `cooldown`.
      warmup: steps of linear warmup, or their share of all steps if below 1.
      cooldown: share of all steps, for "warmup-stable-decay".
      weight_decay: decoupled, times the learning rate. Only what moves decays: what no loss has
        read yet, such as a pretrained encoder's unused head, stays as it came.
      b1, b2: decay of the first and second moments.
      clip: largest global norm of a player's gradient; 0 for no limit.
      accumulate: microbatches that a step's gradient is the mean of.
      freeze: rules; a frozen parameter has no gradient and no optimizer state.
      frozen_dtype: in which frozen parameters are kept.
      lora: low-rank adapters. Their kernels are frozen, and they themselves never.
      decay: rules with factors of the weight decay. What none names decays if it has two axes.
      lr_factors: rules with factors of the learning rate; 1 for what none names.
    """

    name: Literal["adamw", "sgd", "lion", "adafactor", "muon", "normuon"] = "adamw"
    lr: float = 1e-3
    schedule: Literal["constant", "cosine", "linear", "rsqrt", "warmup-stable-decay"] = "cosine"
    warmup: float = 0.05
    cooldown: float = 0.2
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.95
    clip: float = 1.0
    accumulate: int = 1
    freeze: tuple[tuple[str, bool], ...] = ()
    frozen_dtype: Literal["float32", "bfloat16"] = "float32"
    lora: LoraConfig = field(default_factory=LoraConfig)
    decay: tuple[tuple[str, float], ...] = ()
    lr_factors: tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        for key in ("lr", "weight_decay", "clip", "warmup"):
            if getattr(self, key) < 0:
                raise UserError(f"optimizer.{key}={getattr(self, key)!r}: must not be negative")
        for key in ("b1", "b2"):
            if not 0 <= getattr(self, key) < 1:
                raise UserError(f"optimizer.{key}={getattr(self, key)!r}: must be in [0, 1)")
        if not 0 < self.cooldown <= 1:
            raise UserError(f"optimizer.cooldown={self.cooldown!r}: must be in (0, 1]")
        if self.accumulate < 1:
            raise UserError(f"optimizer.accumulate={self.accumulate!r}: must be at least 1")


@dataclass(frozen=True)
class Optimizer:
    """What moves the parameters of a run.

    Attributes:
      players: player -> optax transformation over the player's trained parameters, {name: array}.
      frozen: names of parameters that stay. frozen_dtype: which they are kept in.
      lora: the adapters.
      schedule: step -> learning rate, before factors.
    """

    players: Mapping[str, optax.GradientTransformation]
    frozen: frozenset[str]
    frozen_dtype: str
    lora: LoraConfig
    schedule: Callable[[jax.Array], jax.Array]

    def split(self, player: str, params: Any) -> tuple[Flat, Flat]:
        """One player's parameters as {name: array}: those that are trained, and those that stay."""
        flat = names({player: params})
        trained = {n: p for n, p in flat.items() if n not in self.frozen}
        return trained, {n: p for n, p in flat.items() if n in self.frozen}

    @staticmethod
    def join(player: str, *parts: Flat) -> Any:
        """The inverse of `split`."""
        flat = {n: p for part in parts for n, p in part.items()}
        return unflatten_dict(flat, sep="/")[player]

    def stored(self, params: Params) -> Params:
        """Parameters {player: tree} in the dtypes they are kept in."""
        flat = names(params)
        kept = {n: flat[n].astype(self.frozen_dtype) for n in self.frozen}
        return unflatten_dict({**flat, **kept}, sep="/")

    def merged(self, params: Params) -> Params:
        """Parameters {player: tree} as the objective is given them, adapters in their kernels."""
        return lora.merge(self.lora, params)

    def averaged(self, average: Params, params: Params, decay: jax.Array) -> Params:
        """The running average moved on toward `merged(params)`; what is frozen stays as it is."""
        now, moving = names(self.merged(params)), names(params).keys() - self.frozen
        moving |= {n.removesuffix(lora.A) for n in moving}
        return unflatten_dict(
            {
                n: decay * e + (1 - decay) * now[n] if n in moving else e
                for n, e in names(average).items()
            },
            sep="/",
        )


def make_optimizer(
    config: OptimizerConfig, params: Mapping[str, Any], steps: int, players: Sequence[str] = ()
) -> Optimizer:
    """The optimizer of a run.

    Args:
      params: {player: tree} of arrays or their shapes.
      steps: of the whole run, for the schedule.
      players: who moves in a step, a name for each update; all of `params` once where not named.
    """
    flat = names(params)
    frozen = match(config.freeze, flat, "optimizer.freeze", lambda name: False)
    decay = match(
        config.decay, flat, "optimizer.decay", lambda name: float(len(flat[name].shape) > 1)
    )
    factors = match(config.lr_factors, flat, "optimizer.lr_factors", lambda name: 1.0)
    schedule = make_schedule(config, steps)
    frozen_names = frozenset(
        name
        for name, is_frozen in frozen.items()
        if (is_frozen or name + lora.A in flat) and not name.endswith((lora.A, lora.B))
    )
    if len(frozen_names) == len(flat):
        raise UserError("optimizer.freeze: freezes every parameter; leave some to train")

    def decayed(updates: Flat, params: Flat) -> Flat:
        # Number by number: whether any of a parameter moves would take a pass of its own over it,
        # and words that no text has would shrink.
        return {
            n: u + config.weight_decay * decay[n] * jnp.where(u == 0, 0, params[n])
            for n, u in updates.items()
        }

    def transform(moves: int) -> optax.GradientTransformation:
        # Learning-rate factors come after the decay and scale it too, as a lower lr would.
        return optax.chain(
            optax.clip_by_global_norm(config.clip) if config.clip else optax.identity(),
            _direction(config),
            optax.stateless(decayed),
            optax.stateless(lambda updates, _: {n: factors[n] * u for n, u in updates.items()}),
            optax.scale_by_learning_rate(lambda count: schedule(count // moves)),
        )

    return Optimizer(
        players={player: transform(max(players.count(player), 1)) for player in params},
        frozen=frozen_names,
        frozen_dtype=config.frozen_dtype,
        lora=config.lora,
        schedule=schedule,
    )


def _direction(config: OptimizerConfig) -> optax.GradientTransformation:
    """Gradients to the direction to go against, before decay and learning rate."""
    b1, b2 = config.b1, config.b2
    match config.name:
        case "adamw":
            return optax.scale_by_adam(b1, b2)
        case "sgd":
            return optax.trace(b1)
        case "lion":
            return optax.scale_by_lion(b1, b2)
        case "adafactor":
            return optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
        case "muon" | "normuon":
            even = config.name == "normuon"
            kernels = optax.chain(muon(), even_outputs(b2)) if even else muon()
            return optax.partition(
                {"muon": kernels, "adam": optax.scale_by_adam(b1, b2)},
                lambda params: {
                    n: "muon" if n.endswith("/kernel") and p.ndim == 2 else "adam"
                    for n, p in params.items()
                },
            )


SIZE = 0.2  # root mean square of a kernel's update: what adamw's has

# The best odd polynomials of degree 5, one after the other, that bring singular values from 0.003
# to 1 to within 0.2 of 1 (Amsel et al. 2025, "The Polar Express", theorem 3.1 and algorithm 1, with
# its factors of safety, 1.01, for bfloat16). Four do what Jordan's takes five times for, which
# leaves 0.32.
POLAR = (
    (8.3007, -24.0375, 17.4661),
    (4.0034, -2.9228, 0.5419),
    (3.4709, -2.5494, 0.5002),
    (2.4901, -1.8343, 0.4368),
)


def muon(momentum: float = 0.95) -> optax.GradientTransformation:
    """Momentum made orthogonal (Jordan et al. 2024): every direction of a kernel moves alike.

    Updates have the size that adamw's have (Liu et al. 2025, "Muon is scalable for LLM training"),
    so that one learning rate serves both. Not `optax.contrib.muon`, which multiplies batches of one
    matrix, at twice the time on two CPU cores (experiments/RESULTS.md, "The step"). Products round
    to bfloat16, as in the reference, where what they are traced for is faster for it.
    """

    def dot(a: jax.Array, b: jax.Array, over: Any = (1, 0)) -> jax.Array:
        if multiplies_bfloat16():
            a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        return jnp.tensordot(a, b, over, preferred_element_type=jnp.float32)

    def polynomial(a: float, b: float, c: float, gram: jax.Array) -> jax.Array:
        return a * jnp.eye(len(gram)) + b * gram + c * dot(gram, gram)

    def orthogonal(update: jax.Array) -> jax.Array:
        rows, columns = update.shape
        x = update / (jnp.linalg.norm(update) + 1e-7)
        for first, second in zip(POLAR[::2], POLAR[1::2], strict=True):
            if rows <= columns:
                gram = dot(x, x, (1, 1))
            else:  # over two axes, as XLA:CPU would multiply over the first alone in float32
                halves = x.reshape(math.gcd(rows, 2), -1, columns)
                gram = dot(halves, halves, ((0, 1), (0, 1)))
            # Two steps in Gram matrices, the smallest there are (that of P x is P G P), then anew
            # from x, so that no rounding is carried further.
            one = polynomial(*first, gram)
            both = dot(polynomial(*second, dot(dot(one, gram), one)), one)
            x = dot(both, x) if rows <= columns else dot(x, both)
        return SIZE * max(x.shape) ** 0.5 * x

    return optax.chain(
        optax.trace(momentum, nesterov=True),
        optax.stateless(lambda updates, _: jax.tree.map(orthogonal, updates)),
    )


def even_outputs(b2: float) -> optax.GradientTransformation:
    """Of orthogonal updates of kernels [inputs, outputs] those by which every output moves alike
    (NorMuon; Li et al. 2025, algorithm 1). Directions are even already; but the columns, each one
    output's weights, are of different lengths, and some outputs would hardly be trained.

    Args:
      b2: decay of the mean square of each column, by whose root it is divided. The updates' size
        stays that of muon's.
    """

    def init(params: Flat) -> Flat:
        return jax.tree.map(lambda p: jnp.zeros(p.shape[1], p.dtype), params)

    def update(updates: Flat, squares: Flat, params: Flat | None = None) -> tuple[Flat, Flat]:
        now = jax.tree.map(lambda u: jnp.square(u).mean(0), updates)
        squares = jax.tree.map(lambda s, n: b2 * s + (1 - b2) * n, squares, now)
        return jax.tree.map(even, updates, squares), squares

    def even(update: jax.Array, square: jax.Array) -> jax.Array:
        x = update / (jnp.sqrt(square) + 1e-8)
        return SIZE * x / (jnp.sqrt(jnp.square(x).mean()) + 1e-8)

    return optax.GradientTransformation(init, update)


def make_schedule(config: OptimizerConfig, steps: int) -> Callable[[jax.Array], jax.Array]:
    """step -> learning rate."""
    warmup = config.warmup * steps if config.warmup < 1 else config.warmup
    cooldown = config.cooldown * steps

    def schedule(step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        done = jnp.clip((step - warmup) / max(steps - warmup, 1), 0, 1)
        match config.schedule:
            case "constant":
                course = 1.0
            case "cosine":
                course = 0.5 * (1 + jnp.cos(jnp.pi * done))
            case "linear":
                course = 1 - done
            case "rsqrt":
                course = jnp.sqrt(max(warmup, 1) / jnp.maximum(step, max(warmup, 1)))
            case "warmup-stable-decay":
                course = jnp.clip((steps - step) / max(cooldown, 1), 0, 1)
        return config.lr * jnp.minimum(1, (step + 1) / (warmup + 1)) * course

    return schedule
