import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vismem.data import DataConfig, source
from vismem.errors import UserError

NLVR = Path(__file__).parents[3] / "shared" / "data" / "nlvr"
COLORS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


def row(number, sentence, label="true"):
    return {
        "sentence": sentence,
        "label": label,
        "identifier": f"{number}-0",
        "directory": "3",
    }


@pytest.fixture
def made(tmp_path):
    """Thirty scenes of three plain boxes, each sentence said of two of them."""
    folder = tmp_path / "dev" / "images" / "3"
    folder.mkdir(parents=True)
    rows = [row(i, f"sentence {i // 2}", ("true", "false")[i % 2]) for i in range(30)]
    (tmp_path / "dev" / "dev.json").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for i in range(30):
        for k in range(6):
            picture = np.full((100, 400, 3), 255, np.uint8)
            for place, left in enumerate((0, 150, 300)):
                picture[:, left : left + 100] = COLORS[(place + k) % 3]
            Image.fromarray(picture).save(folder / f"dev-{i}-0-{k}.png")
    return tmp_path


def split(root, name, **options):
    return source(DataConfig(source={"name": "nlvr", "root": str(root), **options}, size=64), name)


def test_a_sentence_is_on_one_side(made):
    parts = [split(made, name, val=0.2, test=0.3) for name in ("train", "val", "test")]
    said = [{part[i]["prompt"] for i in range(len(part))} for part in parts]
    assert all(said)
    assert sum(map(len, said)) == len(set.union(*said)) == 15
    assert sum(map(len, parts)) == 30 * 6


def test_the_boxes_are_put_in_a_square(made):
    part = split(made, "train")
    for i in (0, 4):
        record = part[i]
        assert record["text"] in ("yes", "no")
        corners = [record["image"][y, x] for y, x in ((16, 16), (16, 48), (48, 16), (48, 48))]
        expected = [COLORS[(place + i % 6) % 3] for place in range(3)]
        np.testing.assert_array_equal(corners, [*expected, (255, 255, 255)])
        assert (record["image"][:, 31:33] > 200).all()  # a gap
        assert part.text(i) == f"{record['prompt']}\n{record['text']}"


def test_mistakes_are_named(made):
    with pytest.raises(UserError, match="no such file; NLVR's repository holds it"):
        split(made, "train", part="test")
    with pytest.raises(UserError, match="nlvr has no 'length' split"):
        split(made, "length")
    with pytest.raises(UserError, match="shares must be 0 to 1"):
        split(made, "train", val=0.5, test=0.6)
    (made / "dev" / "dev.json").write_text(json.dumps(row(0, "a", "perhaps")))
    with pytest.raises(UserError, match=r"dev\.json: not NLVR's lines of JSON"):
        split(made, "train", val=0.0, test=0.0)


@pytest.mark.skipif(not NLVR.exists(), reason="../shared/data/nlvr is missing")
def test_the_real_files():
    parts = [split(NLVR, name) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == 989 * 6
    record = parts[0][7]
    assert record["image"].shape == (64, 64, 3)
    assert record["image"][:24, :24].mean() < 240  # a grey box
    assert (record["image"][40:, 40:] == 255).all()  # no fourth
