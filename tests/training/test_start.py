"""Runs that begin with what another has learned."""

import json
import shutil

import numpy as np
import pytest
import toy

from vismem import config
from vismem.data import tokenizers
from vismem.errors import UserError
from vismem.training import run
from vismem.training.loop import train


def trained(folder, *settings):
    """Trains the toy in a folder; returns what it has learned."""
    settings = config.override(toy.get_config(), [f"--config.{s}" for s in settings])
    config.write(settings, folder)
    train(config.run_config(settings), folder)
    return run.learned(folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a run that has learned something."""
    folder = tmp_path_factory.mktemp("first")
    trained(folder, "steps=3")
    return folder


def begun(first, folder, *settings):
    """The parameters of a run that begins with another's and then does not move."""
    return trained(folder, f"start={first}", "optimizer.lr=0.0", "steps=1", *settings)


def test_a_run_begins_with_what_another_has_learned(first, tmp_path):
    known, found = run.learned(first), begun(first, tmp_path / "next", "seed=7")
    for name, value in known.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
    assert (tmp_path / "next" / run.TOKENIZER).is_dir()


def test_what_a_run_began_with_is_in_its_summary(first, tmp_path):
    def inputs(folder):
        return json.loads((folder / config.SUMMARY).read_text())["inputs"]

    begun(first, tmp_path / "one")
    begun(first, tmp_path / "two", "seed=7")
    [(folder, found)] = inputs(tmp_path / "one").items()
    assert folder == str(first)
    assert inputs(tmp_path / "two") == {folder: found}
    moved = tmp_path / "first"
    shutil.copytree(first, moved)
    trained(moved, "steps=4")
    begun(moved, tmp_path / "three")
    assert inputs(tmp_path / "three") != {str(moved): found}
    trained(tmp_path / "three", f"start={moved}", "optimizer.lr=0.0", "steps=2")  # goes on
    assert inputs(tmp_path / "three").keys() == {str(moved)}


def test_texts_may_be_longer_than_the_others(first, tmp_path):
    old = tokenizers.load(first / run.TOKENIZER)
    long = f"data.tokenizer.length={old.length + 9}"
    train_split = toy.ToySource(split="train")
    made = run.make_tokenizer(toy.run_config(f"start={first}", long), tmp_path, train_split)
    assert made.length == old.length + 9
    assert made.words() == old.words()
    np.testing.assert_array_equal(made.encode("picture")[: old.length], old.encode("picture"))


def test_a_tokenizer_stays_once_there_is_a_checkpoint(tmp_path):
    """Before, the settings may be others at the next try, and its tokenizer is made by those."""
    for length in (16, 9):
        config = toy.run_config(f"data.tokenizer.length={length}")
        assert run.make_tokenizer(config, tmp_path, toy.ToySource(split="train")).length == length
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    kept = run.make_tokenizer(toy.run_config(), tmp_path, source=None)
    assert kept.length == 9


def test_what_the_other_does_not_have_begins_anew(first, tmp_path):
    found = begun(first, tmp_path / "next", "objective.rivals=True")
    known = run.learned(first)
    assert {n for n in found if n.startswith("critic/")} == set(found) - set(known)
    assert all(np.abs(found[n]).max() > 0 for n in found if n.endswith("kernel"))


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match="not a run"):
        train(toy.run_config(f"start={tmp_path / 'none'}"), tmp_path / "next")
