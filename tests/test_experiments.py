"""Experiments: what their pictures go through, and the model of every row, can be built."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem import config
from vismem.data import DataConfig, source, tokenizers
from vismem.data.pipeline import augmentations
from vismem.errors import UserError
from vismem.reports import sweeps
from vismem.training import run

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
SWEEPS = [str(f) for f in FILES if "sweep" in runpy.run_path(str(f))]
SWEEPS += [str(FILES[0].with_name(file)) for file in ("cells.py:classify", "lit.py:world")]


def autoencoder(argument: str = "") -> dict:
    """Options of the autoencoder that experiments/autoencoder.py trains."""
    file = f"{FILES[0].with_name('autoencoder.py')}:{argument}"
    options = config.plain(config.load(file).objective)
    return {key: x for key, x in options.items() if key != "name"}


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


def test_conversations_may_be_short_and_corrected():
    file = str(FILES[0].with_name("memory.py"))
    plain, made = (config.run_config(config.load(file + a)) for a in ("", ":corrections,short"))
    assert made.steps == plain.steps // 3
    assert made.data.source == {**plain.data.source, "corrections": 0.25}
    assert made.evaluators.keys() - plain.evaluators.keys() == {"corrections"}
    with pytest.raises(UserError, match="argument is nothing, short"):
        config.load(f"{file}:shorter")


@pytest.mark.parametrize("name", ["memory.py", "iclevr.py"])
def test_instructions_are_read_to_their_end(name):
    """In the pieces of the quickstart, with which these runs begin."""
    first, then = (
        config.run_config(config.load(str(FILES[0].with_name(file)))).data
        for file in ("quickstart.py", name)
    )
    choice = {**first.tokenizer, "length": 200}
    tokenizer = tokenizers.make(choice, source(first, "train"), most=2_000)
    talks = source(then, "train")
    texts = [text for i in range(60) for text in talks.text(i).splitlines()]
    lengths = np.array([(tokenizer.encode(text) > 0).sum() for text in texts])
    assert (lengths > then.tokenizer["length"]).mean() < 0.01
    assert lengths.max() < 200


@pytest.mark.parametrize("argument", ["", ":wide"])
def test_captions_are_read_to_their_end(argument):
    """Training's need less than what is drawn later."""
    file = f"{FILES[0].with_name('quickstart.py')}{argument}"
    data = config.run_config(config.load(file)).data
    captions = source(data, "train")
    tokenizer = tokenizers.make(data.tokenizer, captions)
    texts = (captions.text(i) for i in range(len(captions)))
    assert max(np.count_nonzero(tokenizer.encode(text)) for text in texts) == data.pad_to


@pytest.mark.parametrize("lang", ["", "zh"])
def test_requests_and_descriptions_are_read_to_their_end(lang):
    data = config.run_config(config.load(f"{FILES[0].with_name('expansion.py')}:{lang}")).data
    tokenizer = tokenizers.make({**data.tokenizer, "length": 200}, source(data, "train"), most=500)
    held = source(data, "test")
    lengths = [(tokenizer.encode(t) > 0).sum() for i in range(80) for t in held.text(i).split("\n")]
    assert max(lengths) <= data.tokenizer["length"]


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: Path(file).name)
def test_every_row_can_be_built(file):
    assert sweeps.declared(file, "table")
    rows = {planned.row: planned for planned in sweeps.runs(file)}
    for row in rows.values():
        made = config.run_config(row.config)
        if made.objective.get("autoencoder"):  # of a run, which is not there
            made = replace(made, objective=made.objective | {"autoencoder": autoencoder()})
        if "pretrained" not in (made.text["name"], made.vision.get("name")):  # sizes of a folder
            assert parameters(made)


@pytest.mark.parametrize(("file", "argument"), [("masked.py", ""), ("latent.py", "256")])
def test_what_draws_codes_fits_their_autoencoder(file, argument):
    made = config.run_config(config.load(str(FILES[0].with_name(file))))
    drawn = made.objective | {"autoencoder": autoencoder(argument)}
    assert parameters(replace(made, objective=drawn))


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


def test_a_way_to_draw_is_the_same_alone_and_in_the_sweep():
    file = str(FILES[0].with_name("objectives.py"))
    for planned in sweeps.runs(file):
        if planned.config.seed == 0:
            alone, swept = config.load(f"{file}:{planned.row}"), planned.config
            alone.experiment = swept.experiment = file
            assert config.plain(swept) == config.plain(alone), planned.row


def test_the_ways_to_draw_say_what_their_argument_is():
    file = str(FILES[0].with_name("objectives.py"))
    for argument, name, expander in (
        ("", "flow", None),
        ("flow", "flow", None),
        ("flow,expanded", "flow", "runs/expansion"),
        ("gan", "gan", None),
        ("gan,expanded", "gan", "runs/expansion"),
    ):
        found = config.load(f"{file}:{argument}")
        assert found.objective.name == name
        assert found.evaluators.others.get("expander") == expander
        assert ("generative" in found.evaluators) == argument.startswith("flow")
    with pytest.raises(UserError, match=r"objectives\.py:gam: the argument is expanded or one of"):
        config.load(f"{file}:gam")
