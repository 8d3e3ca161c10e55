"""What is computed again costs what it should: each forward product once more, not twice."""

from pathlib import Path

import flax.linen as nn
import jax
import pytest

from vismem import config as configs
from vismem.planning import plan
from vismem.training.flops import matmul_flops

QUICKSTART = str(Path(__file__).parents[2] / "experiments" / "quickstart.py")


def flops(*settings):
    """Of the loss, and of its gradient."""
    run = configs.run_config(configs.override(configs.load(QUICKSTART), settings))
    objective, batch = plan.parts(run, None)
    key = jax.random.key(0)
    params = nn.unbox(jax.eval_shape(objective.init, key, batch))
    [player] = objective.players
    loss = lambda params, batch, key: objective.loss(player, params, batch, key)[0]  # noqa: E731
    return [matmul_flops(f, params, batch, key) for f in (loss, jax.grad(loss))]


@pytest.mark.parametrize(
    "setting", ["--config.objective.remat=True", "--config.painter.remat=full"]
)
def test_remat(setting):
    forward, plain = flops()
    _, again = flops(setting)
    assert plain < again < plain + 1.01 * forward
