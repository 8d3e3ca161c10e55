"""`vismem caption` and `vismem ask`."""

import pytest
from PIL import Image

from vismem import cli, worlds

EXPERIMENT = """
from ml_collections import ConfigDict

def get_config(argument):
    return ConfigDict({
        "batch_size": 8,
        "steps": 2,
        "data": {
            "source": {"name": argument or "world", "preset": "tiny"},
            "tokenizer": {"name": "byte", "length": 8},
        },
        "objective": {"name": "caption"},
        "vision": {"name": "cnn", "widths": (8, 8)},
        "text": {
            **{"name": "t5", "width": 16, "layers": 1, "decoder_layers": 1},
            **{"heads": 2, "head_dim": 8, "hidden": 16},
        },
        "optimizer": {"name": "adamw", "lr": 1e-3},
    })
"""


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(worlds.world("tiny").example("test", 0).image(48)).save(path)
    return str(path)


@pytest.fixture
def fails(capsys):
    """Runs a command line that must fail; returns its one line."""

    def run(*argv):
        assert cli.main(list(argv)) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    return run


def test_mistakes_are_one_line(tmp_path, picture, fails):
    run, missing = str(tmp_path / "run"), str(tmp_path / "none.png")
    assert "not a run" in fails("caption", run, picture)
    assert "not a run" in fails("ask", run, picture, "is there a circle?")
    assert "none.png" in fails("caption", run, picture, missing)
    (tmp_path / "links").mkdir()
    (link := tmp_path / "links" / "link.png").symlink_to(picture)  # is read; there is no run
    assert "not a run" in fails("caption", run, str(link))
    (tmp_path / "text.png").write_text("no picture")
    assert "cannot be decoded" in fails("ask", run, str(tmp_path / "text.png"), "what?")


@pytest.mark.slow
def test_captions_and_answers_of_trained_runs(tmp_path, picture, capsys, fails):
    (tmp_path / "tiny.py").write_text(EXPERIMENT)
    for argument in ("world", "questions"):
        folder = str(tmp_path / argument)
        assert cli.main(["train", f"{tmp_path}/tiny.py:{argument}", "--workdir", folder]) == 0
    captions, questions = str(tmp_path / "world"), str(tmp_path / "questions")
    capsys.readouterr()

    assert cli.main(["caption", captions, picture, picture]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert cli.main(["caption", captions, picture, "--beams", "3"]) == 0
    random = ["caption", captions, picture, "--temperature", "1", "--top-p", "0.9"]
    drawn = []
    for seed in ("1", "1", "2"):
        capsys.readouterr()
        assert cli.main([*random, "--seed", seed]) == 0
        drawn.append(capsys.readouterr().out)
    assert drawn[0] == drawn[1] != drawn[2]
    assert cli.main(["ask", questions, picture, "is there a circle?", "how many?"]) == 0
    assert len(capsys.readouterr().out.split("\n")) == 3  # an answer a line

    assert "answers no questions" in fails("ask", captions, picture, "is there a circle?")
    assert "ask it" in fails("caption", questions, picture)
    assert "a question is empty" in fails("ask", questions, picture, " ")
    assert "does not draw" in fails("draw", captions, "a red circle")
