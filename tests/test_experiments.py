"""Experiments: what their pictures go through, and the model of every row, can be built."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from vismem import config
from vismem.data import DataConfig
from vismem.data.pipeline import augmentations
from vismem.errors import UserError
from vismem.reports import sweeps
from vismem.training import run

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
SWEEPS = [str(f) for f in FILES if "sweep" in runpy.run_path(str(f))]
AUTOENCODER = config.plain(config.load(str(FILES[0].with_name("autoencoder.py"))).objective)
del AUTOENCODER["name"]


def batch(data: DataConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of pictures and texts, or of conversations of them."""
    turns = (5,) if data.source["name"] == "dialogue" else ()
    return {
        "image": jax.ShapeDtypeStruct((2, *turns, data.size, data.size, 3), jnp.uint8),
        "tokens": jax.ShapeDtypeStruct((2, *turns, 24), jnp.int32),
        "mask": jax.ShapeDtypeStruct((2, *turns), bool),
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_augmentations_can_be_built(file):
    data = config.run_config(config.load(str(file))).data
    assert len(augmentations(data.augment, data.size)) == len(data.augment)


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: Path(file).stem)
def test_every_row_can_be_built(file):
    rows = {planned.row: planned for planned in sweeps.runs(file)}
    for row in rows.values():
        made = config.run_config(row.config)
        if made.objective.get("autoencoder"):  # of a run, which is not there
            made = replace(made, objective=made.objective | {"autoencoder": AUTOENCODER})
        if "pretrained" not in (made.text["name"], made.vision.get("name")):  # sizes of a folder
            objective = run.make_objective(made, SimpleNamespace(vocab_size=64))
            assert jax.eval_shape(objective.init, jax.random.key(0), batch(made.data))


def test_the_ways_to_draw_say_what_their_argument_is():
    file = str(FILES[0].with_name("objectives.py"))
    for argument, name, expander in (
        ("", "flow", None),
        ("expanded", "flow", "runs/expansion"),
        ("gan", "gan", None),
        ("gan,expanded", "gan", "runs/expansion"),
    ):
        found = config.load(f"{file}:{argument}")
        assert found.objective.name == name
        assert found.evaluators.others.get("expander") == expander
        assert ("generative" in found.evaluators) == (name != "gan")
    with pytest.raises(UserError, match=r"objectives\.py:gam: the argument is expanded or one of"):
        config.load(f"{file}:gam")
