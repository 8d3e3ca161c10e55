"""A player that is named twice moves twice in one step, by one schedule."""

import jax
import numpy as np
import toy

from vismem.parallel.mesh import make_mesh
from vismem.training.optimizer import make_optimizer
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

BATCH = {"image": np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)}
SHAPES = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in BATCH.items()}


class Rivals(toy.Toy):
    """Both learn the mean colour; who moves is told."""

    def __init__(self, players):
        super().__init__(image_size=8, rivals=True)
        self.players = players

    def init(self, key, batch):
        names, self.players = self.players, ("painter", "critic")
        try:
            return super().init(key, batch)
        finally:
            self.players = names


def after_a_step(players):
    objective = Rivals(players)
    config = toy.run_config("optimizer.warmup=0", "optimizer.name=sgd")
    layout = Layout(objective, config.optimizer, SHAPES, make_mesh(config.mesh), 10)
    step = make_train_step(objective, layout.optimizer, 0.5)
    return compiled(step, layout.shardings, make_mesh(config.mesh))(layout.init(0), BATCH)[0]


def test_a_player_named_twice_moves_twice():
    once, twice = after_a_step(("painter", "critic")), after_a_step(("painter", "critic", "critic"))
    same = jax.tree.map(np.array_equal, once["params"], twice["params"])
    assert all(jax.tree.leaves(same["painter"]))
    assert not any(jax.tree.leaves(same["critic"]))
    counts = [x for x in jax.tree.leaves(twice["opt"]["critic"]) if x.dtype == np.int32]
    assert counts
    assert all(int(x) == 2 for x in counts)


def test_its_learning_rate_is_that_of_the_step():
    config = toy.run_config("optimizer.name=sgd", "optimizer.b1=0.0", "optimizer.clip=0")
    params = {
        "painter": {"kernel": np.ones(1, np.float32)},
        "critic": {"kernel": np.ones(1, np.float32)},
    }
    optimizer = make_optimizer(config.optimizer, params, 4, ("painter", "critic", "critic"))
    for player, steps in (("painter", (0, 1, 2)), ("critic", (0, 0, 1, 1, 2, 2))):
        trained, _ = optimizer.split(player, params[player])
        state = optimizer.players[player].init(trained)
        for step in steps:
            update, state = optimizer.players[player].update(trained, state, trained)
            expected = -optimizer.schedule(step)
            np.testing.assert_allclose(update[f"{player}/kernel"], expected, rtol=1e-6)
