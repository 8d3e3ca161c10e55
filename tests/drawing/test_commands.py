"""`vismem edit`, `talk` and `draw --conversation` with runs of two steps."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vismem import cli

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SMALL = (
    "steps=2",
    "batch_size=4",
    "text.width=16",
    "text.layers=1",
    "painter={'width': 16, 'layers': 1, 'heads': 2, 'patch': 8}",
    "optimizer.name=adamw",
    "drawing.steps=2",
    "checkpoint.best=",
    "evaluators={}",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Of editing and of conversations."""
    folder = tmp_path_factory.mktemp("runs")
    settings = [f"--config.{setting}" for setting in SMALL]
    for name in ("editing", "iclevr"):
        workdir = ["--workdir", str(folder / name)]
        assert cli.main(["train", str(EXPERIMENTS / f"{name}.py"), *workdir, *settings]) == 0
    return folder


@pytest.mark.slow
def test_edit(runs, tmp_path, capsys):
    pictures = {"in": np.full((40, 40, 3), 250, np.uint8), "mask": np.zeros((40, 40, 3), np.uint8)}
    pictures["mask"][5:20, 10:30] = 255
    files = {name: str(tmp_path / f"{name}.png") for name in (*pictures, "out")}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(files[name])
    run = ["edit", str(runs / "editing"), "--image", files["in"], "--out", files["out"]]
    assert cli.main([*run, "--mask", files["mask"], "a yellow cross"]) == 0
    edited = np.asarray(Image.open(files["out"]))
    outside = pictures["mask"][..., 0] == 0
    assert (edited[outside] == 250).all()
    assert (edited[~outside] != 250).any()
    assert cli.main([*run, "make everything blue"]) == 0
    # A run that has not learned to leave pixels as they are, and mistakes of its user.
    capsys.readouterr()
    run[1] = str(runs / "iclevr")
    for wrong, said in (
        ([*run, "--mask", files["mask"], "a cross"], "has not learned to paint within a mask"),
        ([*run[:2], "a", "--image", files["in"], "--out", "out.txt"], "not a kind of picture"),
        ([*run[:2], "a", "--image", str(tmp_path / "none.png")], "none.png"),
    ):
        assert cli.main(wrong) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


@pytest.mark.slow
def test_talk_and_a_conversation_on_a_sheet(runs, tmp_path, capsys, monkeypatch):
    folder, file = str(runs / "iclevr"), str(tmp_path / "t.vismem")
    first = "add a red circle in the middle\n/like 3\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{first}/save {file}\n/quit\n"))
    assert cli.main(["talk", folder, "--out", str(tmp_path / "one")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("▀") == 32 * 16
    assert "vismem: like: 3: there are candidates 1 to 1" in shown
    monkeypatch.setattr("sys.stdin", io.StringIO("add a blue square above left of it"))
    assert cli.main(["talk", folder, "--session", file, "--out", str(tmp_path / "two")]) == 0
    assert [p.name for p in (tmp_path / "two").iterdir()] == ["2.png"]
    assert cli.main(["talk", str(runs / "editing"), "--session", file]) == 2
    assert "with another model" in capsys.readouterr().err

    draw = ["draw", folder, "add a red circle in the middle", "add a blue square above left of it"]
    draw += ["--conversation", "--out", str(tmp_path / "sheet.png")]
    assert cli.main(draw) == 0
    plain = Image.open(tmp_path / "sheet.png").size
    assert cli.main([*draw, "--steps-strip"]) == 0
    assert Image.open(tmp_path / "sheet.png").height > 2 * plain[1]
