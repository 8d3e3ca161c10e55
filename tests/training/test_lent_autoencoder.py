"""Runs that draw with another run's autoencoder: it is copied when they begin, and never learns."""

import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import vismem
from vismem import config
from vismem.errors import UserError
from vismem.training import run
from vismem.training.loop import train

DATA = {
    "source": {"name": "world", "preset": "tiny", "examples": 64},
    "size": 32,
    "tokenizer": {"name": "byte", "length": 16},
    "threads": 0,
}


def settings(objective, **parts) -> ConfigDict:
    return ConfigDict(
        {
            "batch_size": 4,
            "steps": 2,
            "data": DATA,
            "objective": objective,
            "optimizer": {"lr": 1e-2, "weight_decay": 0.1},
            "checkpoint": {"best": ""},
            **parts,
        }
    )


def trained(folder, chosen: ConfigDict):
    config.write(chosen, folder)
    train(config.run_config(chosen), folder)
    return run.restore(config.run_config(config.read(folder)), folder)[-1]


@pytest.fixture(scope="module")
def lent(tmp_path_factory):
    """The folder of an autoencoder's run, and its parameters."""
    folder = tmp_path_factory.mktemp("lent")
    options = {"name": "autoencode", "levels": (3, 2), "patch": 8, "widths": (8,), "blocks": 0}
    return folder, trained(folder, settings(options))["ema"]["autoencoder"]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["masked", "flow"])
def test_a_run_draws_with_an_autoencoder_of_its_own_that_stays_as_it_was(objective, lent, tmp_path):
    lender, parameters = lent
    shutil.copytree(lender, tmp_path / "lent")
    drawer = settings(
        {"name": objective, "autoencoder": str(tmp_path / "lent")},
        text={"name": "transformer", "width": 8, "layers": 1, "heads": 2},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter={"width": 8, "layers": 1, "heads": 2, "patch": 2},
        memory={"slots": 2},
        drawing={"solver": "euler", "steps": 3},
        evaluators={"loss": {"name": "loss", "count": 8, "batch_size": 8}},
    )
    state = trained(tmp_path / "drawer", drawer)
    shutil.rmtree(tmp_path / "lent")  # it is not read again
    for kept in (state["params"], state["ema"]):
        jax.tree.map(np.testing.assert_array_equal, kept["autoencoder"], parameters)
    moments = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state["opt"])]
    assert any("generator/" in name for name in moments)
    assert not any("autoencoder/" in name for name in moments)
    folder = tmp_path / "drawer"
    assert np.isfinite(run.evaluate(config.run_config(config.read(folder)), folder)["val/loss"])
    drawing = vismem.load(folder).draw(["a red circle"], trace=True)
    assert drawing.images.shape == (1, 32, 32, 3)
    assert drawing.estimates.shape == (3, 1, 32, 32, 3)
    # The last step leaves nothing undecided.
    np.testing.assert_array_equal(drawing.estimates[-1], drawing.images)


def test_what_is_no_autoencoder_is_named(tmp_path):
    config.write(settings({"name": "flow"}), tmp_path / "flow")
    for folder, said in (("flow", "not a run of the objective autoencode"), ("none", "not a run")):
        chosen = settings({"name": "masked", "autoencoder": str(tmp_path / folder)})
        with pytest.raises(UserError, match=said):
            train(config.run_config(chosen), tmp_path / "masked")
