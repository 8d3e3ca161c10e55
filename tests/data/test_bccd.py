"""Blood cells cut out of their pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vismem.data.bccd import BccdSource
from vismem.errors import UserError

REAL = Path(__file__).parents[3] / "shared" / "data" / "bccd" / "BCCD"
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def write(root, cells):
    """One picture, black but for white boxes."""
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Main/test.txt").write_text("one\n")
    pixels = np.zeros((60, 80, 3), np.uint8)
    rows = ""
    for name, (left, top, right, bottom) in cells:
        pixels[top:bottom, left:right] = 255
        rows += f"<object><name>{name}</name>{BOX.format(left, top, right, bottom)}</object>"
    Image.fromarray(pixels).save(root / "JPEGImages/one.jpg")
    (root / "Annotations/one.xml").write_text(f"<annotation>{rows}</annotation>")


def test_a_record_shows_its_cell(tmp_path):
    cells = [("WBC", (10, 10, 30, 30)), ("RBC", (70, 50, 80, 60)), ("RBC", (5, 5, 5, 9))]
    write(tmp_path, cells)
    source = BccdSource("test", str(tmp_path))
    assert len(source) == 2  # the last is empty
    white, red = source[0], source[1]
    assert (white["text"], white["label"]) == ("a white blood cell", 1)
    assert (red["text"], red["label"]) == (source.text(1), 0)
    assert white["image"].shape == (24, 24, 3)
    assert white["image"][12, 12].min() > 250  # the middle is the cell's
    assert white["image"][0, 0].max() < 50
    assert red["image"].shape == (12, 12, 3)  # moved into the picture
    assert red["image"][-1, -1].min() > 200


def test_cells_are_counted(tmp_path):
    write(
        tmp_path, [("RBC", (0, 0, 20, 20)), ("RBC", (40, 40, 50, 50)), ("Platelets", (7, 7, 7, 9))]
    )
    source = BccdSource("test", str(tmp_path), "count")
    records = {source[i]["about"]: source[i] for i in range(len(source))}
    found = {about: record["text"] for about, record in records.items()}
    assert found == {"red blood cell": "2", "white blood cell": "0", "platelet": "0"}
    assert source.text(2) == "how many platelets are there?\n0"
    assert records["platelet"]["prompt"] == "how many platelets are there?"
    assert records["platelet"]["image"].shape == (60, 60, 3)
    assert records["platelet"]["image"][5, 12].min() > 200  # squeezed: the whole is there
    assert records["platelet"]["image"][5, 18].max() < 50


def test_mistakes_are_named(tmp_path):
    write(tmp_path, [("XBC", (1, 1, 5, 5))])
    with pytest.raises(UserError, match="unknown cell 'XBC'"):
        BccdSource("test", str(tmp_path))
    with pytest.raises(UserError, match=r"has no ImageSets/Main/train\.txt"):
        BccdSource("train", str(tmp_path))
    (tmp_path / "Annotations/one.xml").write_text("<annotation>")
    with pytest.raises(UserError, match=r"one\.xml: cannot be read"):
        BccdSource("test", str(tmp_path))


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data/bccd is not here")
def test_the_real_ones():
    parts = {split: BccdSource(split, str(REAL)) for split in ("train", "val", "test")}
    assert 4800 < sum(map(len, parts.values())) <= 4888
    for source in parts.values():
        assert {source[i]["label"] for i in range(0, len(source), 20)} == {0, 1, 2}
        assert min(source[i]["image"].shape[0] for i in range(0, len(source), 40)) > 10
