"""Experiments: what their pictures go through, and the model of every row, can be built."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from vismem import config
from vismem.data import DataConfig
from vismem.data.pipeline import augmentations
from vismem.reports import sweeps
from vismem.training import run

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
SWEEPS = [str(f) for f in FILES if "sweep" in runpy.run_path(str(f))]
SWEEPS += [str(FILES[0].with_name(file)) for file in ("cells.py:classify", "lit.py:world")]


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


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: Path(file).name)
def test_every_row_can_be_built(file):
    assert sweeps.declared(file, "table")
    rows = {planned.row: planned for planned in sweeps.runs(file)}
    for row in rows.values():
        made = config.run_config(row.config)
        if "pretrained" not in (made.text["name"], made.vision.get("name")):  # sizes of a folder
            assert parameters(made)


@pytest.mark.parametrize(
    "setting",
    ["text=lstm", "text.name=lstm", "vision=resnet", "vision.name=cnn", "fusion=concat"],
)
def test_the_quickstart_goes_with_another_encoder_or_fusion(setting):
    file = next(str(f) for f in FILES if f.stem == "quickstart")
    made = config.override(config.load(file), [f"--config.{setting}"])
    assert parameters(config.run_config(made)) != parameters(config.run_config(config.load(file)))


def parameters(made: config.RunConfig) -> dict:
    """Shapes of the parameters."""
    objective = run.make_objective(made, SimpleNamespace(vocab_size=64))
    return jax.eval_shape(objective.init, jax.random.key(0), batch(made.data))
