"""Two towers by the commands: trained, evaluated, and searched with."""

import numpy as np
import pytest
from PIL import Image

import vismem
from vismem import cli

EXPERIMENT = """
from ml_collections import ConfigDict

def get_config(argument):
    return ConfigDict({
        "batch_size": 8,
        "steps": 2,
        "data": {
            "source": {"name": "world", "preset": "tiny", "near_misses": 1, "examples": 64},
            "tokenizer": {"name": "byte", "length": 64},
        },
        "objective": {"name": "contrastive", "width": 8, "loss": argument},
        "text": {"name": "ngrams", "width": 8},
        "vision": {"name": "cnn", "widths": (4, 8)},
        "checkpoint": {"best": ""},
        "evaluators": {"retrieval": {"name": "retrieval", "count": 8}},
    })
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("towers")
    (folder / "towers.py").write_text(EXPERIMENT)
    command = ["train", f"{folder}/towers.py:sigmoid", "--workdir", str(folder / "run")]
    assert cli.main(command) == 0
    return folder / "run"


def test_a_folder_is_indexed_and_searched(run, tmp_path, capsys):
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    index, sheet = str(tmp_path / "index"), tmp_path / "sheets" / "found.png"
    command = ["index", str(tmp_path), "--run", str(run), "--out", index]
    assert cli.main(command) == 0
    assert "3 pictures added" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert "0 pictures added" in capsys.readouterr().out
    for query in ("a red circle", str(tmp_path / "1.png")):
        assert cli.main(["search", index, query, "--count", "2", "--out", str(sheet)]) == 0
        assert Image.open(sheet).height > 250  # two pictures
        sheet.unlink()
    for where, query, said in (
        (index, str(tmp_path / "gone.png"), "cannot be read"),
        (index, " ", "a text is empty"),
        (str(tmp_path), "red", "not an index"),
    ):
        assert cli.main(["search", where, query, "--out", str(sheet)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert not sheet.exists()


def test_the_critic_scores_pairs(run):
    critic = vismem.critic(run)
    pictures = [np.full((9, 9, 3), shade, np.uint8) for shade in (0, 90, 250)]
    scores = critic.score(pictures, ["a red circle"] * 3)
    assert scores.shape == (3,)
    assert (np.abs(scores) <= 1 + 1e-6).all()
    each = [critic.score([p], ["a red circle"])[0] for p in pictures]
    np.testing.assert_allclose(scores, each, atol=1e-5)


def test_the_final_table_again(run, capsys):
    assert cli.main(["evaluate", str(run)]) == 0
    assert "recall@1" in capsys.readouterr().out
