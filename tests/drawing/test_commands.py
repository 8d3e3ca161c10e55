"""`vismem edit`, `talk` and `draw --conversation`."""

import errno
import io
from pathlib import Path

import numpy as np
import pytest
from conversing import SIZE, make_artist
from PIL import Image

from vismem import cli
from vismem.drawing import sheets
from vismem.errors import UserError

EDITING = Path(__file__).parents[2] / "experiments" / "editing.py"


@pytest.fixture
def artist(monkeypatch):
    """What every command loads."""
    found = make_artist(0)
    monkeypatch.setattr("vismem.training.run.load", lambda folder: found)
    return found


@pytest.fixture
def files(tmp_path):
    """A white picture and a mask of it, 40 x 40 pixels, and where a result goes."""
    mask = np.zeros((40, 40, 3), np.uint8)
    mask[5:20, 10:30] = 255
    names = {name: str(tmp_path / f"{name}.png") for name in ("in", "mask", "out")}
    Image.fromarray(np.full((40, 40, 3), 250, np.uint8)).save(names["in"])
    Image.fromarray(mask).save(names["mask"])
    return names


def test_edit(artist, files):
    edit = ["edit", "run", "--image", files["in"], "--out", files["out"]]
    assert cli.main([*edit, "--mask", files["mask"], "a yellow cross"]) == 0
    edited, outside = (np.asarray(Image.open(files[name])) for name in ("out", "mask"))
    outside = outside[..., 0] == 0
    assert (edited[outside] == 250).all()
    assert (edited[~outside] != 250).any()
    assert cli.main([*edit, "make everything blue"]) == 0
    assert (np.asarray(Image.open(files["out"]))[outside] != 250).any()


def test_a_picture_that_cannot_be_written_whole_leaves_the_one_that_was_there(tmp_path):
    class Sheet:
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out.png"
    out.write_bytes(b"whole")
    with pytest.raises(UserError, match="cannot be written: No space left"):
        sheets.write(Sheet(), out)
    assert out.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(UserError, match=r"inside\.png: cannot be written"):
        sheets.write(Sheet(), out / "inside.png")


def test_mistakes_in_edit(artist, files, tmp_path, capsys):
    Image.new("RGBA", (40, 40)).save(tmp_path / "clear.png")
    edit = ["edit", "run", "--image", files["in"], "a cross"]
    for wrong, said in (
        ([*edit, "--mask", files["mask"], "--out", "out.jpg"], "end it in .png"),
        ([*edit, "--mask", files["mask"], "--image", f"{tmp_path}/clear.png"], "transparent"),
        ([*edit, "--out", "out.txt"], "not a kind of picture"),
        ([*edit, "--image", "none.png"], "none.png"),
    ):
        assert cli.main(wrong) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_talk(artist, tmp_path, capsys, monkeypatch):
    file = str(tmp_path / "t.vismem")
    typed = f"add a red circle in the middle\n/like 0\n/like 2\n/save {file}\n/quit\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert cli.main(["talk", "run", "--out", str(tmp_path / "one")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("▀") == SIZE * SIZE  # of the first candidate, and of the second
    assert "vismem: like: 0: the candidates are counted from 1" in shown
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"1.png", "1-2.png"}
    monkeypatch.setattr("sys.stdin", io.StringIO("add a blue square above left of it"))
    assert cli.main(["talk", "run", "--session", file, "--out", str(tmp_path / "two")]) == 0
    assert [p.name for p in (tmp_path / "two").iterdir()] == ["2.png"]
    assert cli.main(["talk", "run", "--session", str(tmp_path)]) == 2


def test_a_conversation_on_a_sheet(artist, tmp_path):
    out = str(tmp_path / "sheet.png")
    draw = ["draw", "run", "add a red circle", "make it blue", "--conversation", "--out", out]
    assert cli.main(draw) == 0
    plain = Image.open(out).size
    assert cli.main([*draw, "--steps-strip"]) == 0
    assert Image.open(out).height > 2 * plain[1]


def test_what_is_asked_for_can_be_expanded(artist, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn, opened = [], []

    class Known:
        def expand(self, texts, seed):
            return [f"{text}, in full" for text in texts]

    def opens(folder):
        opened.append(folder)
        return Known()

    draw = artist.draw
    monkeypatch.setattr("vismem.training.run.expander", opens)
    monkeypatch.setattr(artist, "draw", lambda texts, **how: drawn.append(texts) or draw(texts))
    command = ["draw", "run", "something blue", "--expand"]
    assert cli.main([*command[:3], "--out", "plain.png"]) == 0
    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    assert "'runs/expansion' is not a run" in capsys.readouterr().err
    for folder in ("runs/expansion", "other"):
        Path(folder).mkdir(parents=True)
        Path(folder, "config.json").write_text("{}")
    assert cli.main(command) == 0
    assert cli.main([*command, "other"]) == 0
    assert cli.main(["draw", "run", "--expand", "other", "something blue"]) == 0
    assert drawn == [["something blue"]] + 3 * [["something blue, in full"]]
    assert opened == ["runs/expansion", "other", "other"]
    for swallowed in (["a star"], ["a star", "a cross"]):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["draw", "run", "--expand", *swallowed])
        error = capsys.readouterr().err
        assert "'a star' is not a run; texts go before --expand" in error
        assert error.count("\n") == 1


@pytest.mark.slow
def test_a_trained_run_edits(files, tmp_path):
    settings = (
        "steps=2",
        "start=",
        "batch_size=4",
        "text={'name': 'transformer', 'width': 16, 'layers': 1, 'heads': 2}",
        "painter={'width': 16, 'layers': 1, 'heads': 2, 'patch': 8}",
        "data.tokenizer={'name': 'byte', 'length': 64}",
        "optimizer.name=adamw",
        "drawing.steps=2",
        "checkpoint.best=",
        "evaluators={'edits': {'name': 'edits', 'count': 4}}",
    )
    run = str(tmp_path / "run")
    train = ["train", str(EDITING), "--workdir", run, *(f"--config.{s}" for s in settings)]
    assert cli.main(train) == 0
    edit = ["edit", run, "--image", files["in"], "--mask", files["mask"], "--out", files["out"]]
    assert cli.main([*edit, "a yellow cross"]) == 0
