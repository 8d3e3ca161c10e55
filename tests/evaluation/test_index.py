"""An index of a folder: complete, extended, and whole after a crash."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vismem.errors import UserError
from vismem.evaluation import index
from vismem.evaluation.index import Index, build


class Colors:
    """A critic that sees the mean colour; it can break down after some pictures."""

    def __init__(self, weight=1.0, left=10**9):
        self.params, self.left = {"towers": np.array(weight)}, left

    def fit(self, picture):
        return picture

    def images(self, pictures):
        self.left -= len(pictures)
        if self.left < 0:
            raise KeyboardInterrupt
        means = np.stack([p.mean((0, 1)) for p in pictures]).astype(np.float32) + 1e-3
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def texts(self, texts):
        rows = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
        return np.array([rows[text] for text in texts], np.float32)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for i in range(6):
        for name, color in (("red", (250 - i, 9, i)), ("below/green", (i, 250 - i, 9))):
            Image.new("RGB", (4, 4), color).save(folder / f"{name}{i}.png")
    return folder


def test_search_finds_the_nearest(pictures, tmp_path):
    out = tmp_path / "index"
    assert build(pictures, Colors(), tmp_path / "run", out) == (12, 0)
    found = Index(out)
    assert found.run == str(tmp_path / "run")
    best = found.search(Colors().texts(["green"])[0], 6)
    assert {name for name, _ in best} == {f"below/green{i}.png" for i in range(6)}
    cosines = [cosine for _, cosine in best]
    assert cosines == sorted(cosines, reverse=True)
    text, picture = (found.sheet(Colors(), q, 3) for q in ("red", str(pictures / "red0.png")))
    assert text.size == picture.size


def test_what_is_new_changed_or_gone(pictures, tmp_path):
    out = tmp_path / "index"
    build(pictures, Colors(), tmp_path / "run", out)
    assert build(pictures, Colors(left=0), tmp_path / "run", out) == (0, 0)
    Image.new("RGB", (5, 5), (0, 0, 250)).save(pictures / "red0.png")
    (pictures / "red1.png").unlink()
    (pictures / "broken.png").write_bytes(b"no picture")
    assert build(pictures, Colors(), tmp_path / "run", out) == (1, 1)
    found = Index(out)
    assert len(found.pictures) == 11
    assert found.search(Colors().texts(["blue"])[0], 1)[0][0] == "red0.png"


def test_a_crash_loses_no_whole_shard(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "SHARD", 5)
    out = tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        build(pictures, Colors(left=7), tmp_path / "run", out)
    assert len(Index(out).pictures) == 5
    (out / ".shard.partial").write_bytes(b"cut short")
    assert build(pictures, Colors(), tmp_path / "run", out) == (7, 0)
    assert len(Index(out).pictures) == 12


def test_mistakes_are_named(pictures, tmp_path):
    out = tmp_path / "index"
    with pytest.raises(UserError, match="no such folder"):
        build(tmp_path / "none", Colors(), tmp_path / "run", out)
    with pytest.raises(UserError, match="not an index"):
        Index(out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        build(tmp_path / "empty", Colors(), tmp_path / "run", out)
    with pytest.raises(UserError, match="cannot be written"):
        build(pictures, Colors(), tmp_path / "run", pictures / "red0.png")
    assert not out.exists()
    build(pictures, Colors(), tmp_path / "run", out)
    with pytest.raises(UserError, match="name another --out"):
        build(pictures, Colors(weight=2.0), tmp_path / "run", out)
    with pytest.raises(UserError, match="has trained on since"):
        Index(out).sheet(Colors(weight=2.0), "red", 1)
    with pytest.raises(UserError, match="count=0"):
        Index(out).search(np.ones(3), 0)
    [shard] = out.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged"):
        Index(out)
    shutil.rmtree(out)
    out.mkdir()
    (out / index.ABOUT).write_text(json.dumps([]))
    with pytest.raises(UserError, match=r"index\.json: damaged"):
        Index(out)


def test_a_folder_of_other_things_is_left_alone(pictures, tmp_path):
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"of a model")
    with pytest.raises(UserError, match="other things than an index"):
        build(pictures, Colors(), tmp_path / "run", weights.parent)
    assert list(weights.parent.iterdir()) == [weights]


@pytest.mark.parametrize("left", [None, 0, 200, -9])
def test_a_damaged_shard_is_made_anew(pictures, tmp_path, monkeypatch, caplog, left):
    monkeypatch.setattr(index, "SHARD", 4)
    out = tmp_path / "index"
    build(pictures, Colors(), tmp_path / "run", out)
    shard = out / "000001.safetensors"
    if left is None:  # a user's own remedy
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:left])
    assert build(pictures, Colors(), tmp_path / "run", out) == (4, 0)
    assert [r.getMessage().count("000001.safetensors: damaged") for r in caplog.records] == (
        [] if left is None else [1]
    )
    assert len(Index(out).pictures) == 12


def test_a_shard_that_cannot_be_written_is_one_line(pictures, tmp_path):
    out = tmp_path / "index"
    build(pictures, Colors(), tmp_path / "run", out)
    Image.new("RGB", (5, 5)).save(pictures / "new.png")
    (out / ".shard.partial").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        build(pictures, Colors(), tmp_path / "run", out)


def test_a_query_is_a_text_or_a_picture(pictures, tmp_path, monkeypatch):
    out = tmp_path / "index"
    build(pictures, Colors(), tmp_path / "run", out)
    found = Index(out)
    (tmp_path / "red").mkdir()
    (tmp_path / "letter.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    found.sheet(Colors(), "red", 99)  # a folder's name, and more than there are
    (tmp_path / "red" / "link.png").symlink_to(pictures / "red0.png")
    found.sheet(Colors(), "red/link.png", 1)
    for query in ("letter.txt", "gone.png"):
        with pytest.raises(UserError, match=query):
            found.sheet(Colors(), query, 1)
