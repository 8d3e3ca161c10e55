"""A toy run: a small network learns the mean colour of noise pictures. As a script, it trains one.

python toy.py FOLDER [key=value ...]
"""

import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vismem import config
from vismem.data import SOURCES
from vismem.errors import UserError
from vismem.evaluation import EVALUATORS
from vismem.objectives import OBJECTIVES

SOURCES["toy"] = "toy:ToySource"
OBJECTIVES["toy"] = "toy:Toy"
EVALUATORS["toy"] = "toy:ToyEvaluator"


class ToySource:
    def __init__(self, *, split: str, examples: int = 64):
        self.examples, self.seed = examples, len(split)

    def __len__(self):
        return self.examples

    def __getitem__(self, index):
        image = np.random.default_rng((self.seed, index)).integers(0, 256, (8, 8, 3), np.uint8)
        return {"image": image, "text": f"picture {index}"}


class Network(nn.Module):
    """[B, ...] -> [B, 4], with a hidden layer whose axes are those of the real models."""

    @nn.compact
    def __call__(self, x):
        box = nn.with_logical_partitioning
        kernel = nn.initializers.lecun_normal()
        x = x.reshape(len(x), -1)
        x = nn.Dense(16, kernel_init=box(kernel, ("embed", "mlp")), name="up")(x)
        return nn.Dense(4, kernel_init=box(kernel, ("mlp", "embed")), name="down")(nn.relu(x))


class Toy:
    """Squared error of the mean colour; `noise` of the input tries the random keys.

    Args:
      explode_at: mean brightness above which the loss is infinite.
      rivals: whether a second player learns the same.
    """

    def __init__(
        self, *, image_size: int, noise: float = 0.0, explode_at: float = 2.0, rivals: bool = False
    ):
        self.players = ("painter", "critic") if rivals else ("painter",)
        self.network, self.noise, self.explode_at = Network(), noise, explode_at

    def init(self, key, batch):
        return {
            player: self.network.init(jax.random.fold_in(key, i), batch["image"] / 255)["params"]
            for i, player in enumerate(self.players)
        }

    def loss(self, player, params, batch, key, train=True):
        picture = batch["image"] / 255
        target = jnp.pad(picture.mean((1, 2)), ((0, 0), (0, 1)))
        noisy = picture + self.noise * jax.random.normal(key, picture.shape)
        error = jnp.square(self.network.apply({"params": params[player]}, noisy) - target).mean()
        loss = jnp.where(picture.mean() > self.explode_at, jnp.inf, error)
        return loss, {"error": error}


class ToyEvaluator:
    """The size of the averaged parameters, to which several hosts add some each."""

    def __init__(self, *, key: str = "toy/norm"):
        self.key = key

    def run(self, state):
        return self.join([self.share(state, 0, 1)])

    def share(self, state, part, parts):
        leaves = jax.tree.leaves(state["ema"])[part::parts]
        return {"squares": np.array([jnp.square(x).sum() for x in leaves], np.float64)}

    def join(self, shares):
        return {self.key: sum(float(share["squares"].sum()) for share in shares)}


def get_config(_=""):
    c = ConfigDict()
    c.batch_size = 8
    c.steps = 12
    c.log_every = 1
    c.data = {"source": {"name": "toy"}, "size": 8, "tokenizer": {"name": "byte", "length": 16}}
    c.objective = {"name": "toy", "noise": 0.1}
    c.optimizer = {"lr": 1e-2}
    c.checkpoint = {"every": 5, "best": ""}
    c.evaluators = {"norm": {"name": "toy", "every": 4}}
    return c


def run_config(*settings):
    """The toy's config with settings like "optimizer.lr=0.1"."""
    return config.run_config(config.override(get_config(), [f"--config.{s}" for s in settings]))


if __name__ == "__main__":
    from vismem.parallel import hosts
    from vismem.training.loop import train

    sys.modules["toy"] = sys.modules["__main__"]
    try:
        with hosts.joined():
            train(run_config(*sys.argv[2:]), Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"toy: {error}")
