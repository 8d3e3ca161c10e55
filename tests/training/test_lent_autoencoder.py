"""Runs that draw with the autoencoder of another run, or a pretrained one: it is copied when they
begin, and never learns."""

import json
import shutil

import flax.linen as nn
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import vismem
from vismem import config, pretrained
from vismem.errors import UserError
from vismem.pretrained import autoencoder_kl, checkpoint
from vismem.training import encoders, run
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


KL = autoencoder_kl.DEFAULTS | {
    **{"_class_name": "AutoencoderKL", "model_type": "AutoencoderKL"},
    **{"architectures": ["AutoencoderKL"], "block_out_channels": (4, 4), "norm_num_groups": 2},
}
VGG = {"model_type": "vgg", "architectures": ["VGGModel"], "stages": [[4]]}


def exported(model, folder):
    """Writes a pretrained model with parameters at random, which are returned."""
    rng = np.random.default_rng(0)
    shapes = nn.unbox(checkpoint.build(model)[1])
    params = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), shapes)
    pretrained.export(folder, model, params)
    return params


@pytest.fixture(scope="module")
def kl(tmp_path_factory):
    """The folder of a pretrained autoencoder, and its parameters."""
    folder = tmp_path_factory.mktemp("kl")
    return folder, exported(KL, folder)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The folder of an autoencoder's run, and its parameters."""
    folder = tmp_path_factory.mktemp("ours")
    options = {"name": "autoencode", "levels": (3, 2), "patch": 8, "widths": (8,), "blocks": 0}
    return folder, trained(folder, settings(options))["ema"]["autoencoder"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "lends"),
    [("masked, raster", "ours"), ("flow", "ours"), ("flow", "kl")],
)
def test_a_run_draws_with_an_autoencoder_of_its_own_that_stays_as_it_was(
    objective, lends, request, tmp_path
):
    lender, parameters = request.getfixturevalue(lends)
    shutil.copytree(lender, tmp_path / "lent")
    lent = str(tmp_path / "lent")
    # What is said of a pretrained one is for plans: what is in the folder counts.
    autoencoder = {"folder": lent, "blocks": 9} if lends == "kl" else lent
    name, _, order = objective.partition(", ")
    steps = 16 if order else 3  # a cell a step
    drawer = settings(
        {"name": name, "autoencoder": autoencoder, **({"order": order} if order else {})},
        text={"name": "transformer", "width": 8, "layers": 1, "heads": 2},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter={"width": 8, "layers": 1, "heads": 2, "patch": 1 if order else 2},
        memory={"slots": 2},
        drawing={"solver": "euler", "steps": steps},
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
    assert drawing.estimates.shape == (steps, 1, 32, 32, 3)
    # The last step leaves nothing undecided; latents without codes are rounded in the last bit.
    level = int(lends == "kl")
    np.testing.assert_allclose(drawing.estimates[-1].astype(int), drawing.images, atol=level)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"block_out_channels": (4, 8)}, r"holds no .* of shape \[.*delete that folder"),
        ({"scaling_factor": 0.5}, r"has scaling_factor=0\.18215, but had 0\.5 when this run's"),
    ],
)
def test_another_autoencoder_than_was_described_is_not_drawn_with(kept, said, kl, tmp_path):
    """A description that an earlier attempt has left in the run's folder."""
    (tmp_path / "lent").mkdir()
    exported(KL | kept, tmp_path / "lent")
    described = encoders.codec_options(str(tmp_path / "lent"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / encoders.AUTOENCODER).write_text(json.dumps(described))
    chosen = settings(
        {"name": "flow", "autoencoder": str(kl[0])},
        text={"name": "transformer", "width": 8, "layers": 1, "heads": 2},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter={"width": 8, "layers": 1, "heads": 2, "patch": 2},
        memory={"slots": 2},
        drawing={"solver": "euler", "steps": 2},
    )
    with pytest.raises(UserError, match=said):
        train(config.run_config(chosen), tmp_path / "run")


@pytest.mark.parametrize(
    ("lender", "said"),
    [
        ("none", "no such folder"),
        ("flow", "not a run of the objective autoencode"),
        ("vgg", "holds a model that is no autoencoder"),
        ("kl", "has latents and no tokens, which masked draws"),
    ],
)
def test_what_cannot_be_drawn_with_is_named(lender, said, request, tmp_path):
    folder = tmp_path / lender
    if lender == "kl":
        folder, _ = request.getfixturevalue(lender)
    elif lender == "flow":
        config.write(settings({"name": "flow"}), folder)
    elif lender == "vgg":
        exported(VGG, folder)
    chosen = settings({"name": "masked", "autoencoder": str(folder)})
    with pytest.raises(UserError, match=said):
        train(config.run_config(chosen), tmp_path / "masked")
