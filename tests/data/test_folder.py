import json

import numpy as np
import pytest
from PIL import Image

from vismem.data import DataConfig, source
from vismem.data.folder import FolderSource
from vismem.errors import UserError


def folder(root, rows, pictures=True):
    for i, row in enumerate(rows):
        if pictures and isinstance(row, dict) and "file_name" in row:
            path = root / row["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (i, 2 * i, 3)).save(path)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return str(root)


def rows(count, **extra):
    return [{"file_name": f"{i}.png", "text": f"picture {i}", **extra} for i in range(count)]


def test_metadata(tmp_path):
    root = folder(tmp_path, [r | {"label": 5, "keywords": ["one", "two"]} for r in rows(3)])
    records = FolderSource("train", root, val=0.0, test=0.0)
    assert len(records) == 3
    example = records[1]
    assert (example["image"] == np.full((6, 8, 3), (1, 2, 3))).all()
    assert (example["text"], example["label"]) == ("picture 1", 5)
    assert example["keywords"] == ("one", "two")
    assert FolderSource("train", root, val=0.0, test=0.0, keywords=1)[1]["text"] == "picture 1, one"


def test_one_folder_a_class(tmp_path):
    for name in ("blood_cell", "apple"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("L", (4, 4)).save(tmp_path / name / f"{i}.jpg")
    (tmp_path / "apple" / "notes.txt").write_text("no picture")
    records = FolderSource("train", str(tmp_path), val=0.0, test=0.0)
    assert [(records[i]["text"], records[i]["label"]) for i in range(4)] == [
        ("apple", 0), ("apple", 0), ("blood cell", 1), ("blood cell", 1),
    ]  # fmt: skip


def test_splits_are_disjoint_and_stay_when_pictures_are_added(tmp_path):
    def split(names, split, **shares):
        (tmp_path / "metadata.jsonl").write_text(
            "\n".join(json.dumps({"file_name": n, "text": n}) for n in names)
        )
        records = FolderSource(split, str(tmp_path), **shares)
        return {records.text(i) for i in range(len(records))}

    names = [f"{i}.png" for i in range(2000)]
    shares = {"val": 0.1, "test": 0.2}
    train, val, test = (split(names, s, **shares) for s in ("train", "val", "test"))
    assert train | val | test == set(names)
    assert len(train) + len(val) + len(test) == 2000
    assert abs(len(val) - 200) < 50
    assert abs(len(test) - 400) < 70
    assert split(names[:1000][::-1], "val", **shares) == val & set(names[:1000])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", r"metadata\.jsonl:2: not JSON"),
        ("[]", r"metadata\.jsonl:2: needs file_name and text"),
        ({"file_name": "a.png"}, r":2: needs file_name and text"),
        ({"file_name": 3, "text": "a"}, r":2: file_name=3 is not of type str"),
        ({"file_name": "a.png", "text": "a", "label": "x"}, r":2: label='x' is not of type int"),
        ({"file_name": "a.png", "text": "a", "label": 2**31}, r":2: label=2147483648 is not"),
        ({"file_name": "a.png", "text": "a", "keywords": "x"}, r":2: keywords='x'"),
        ({"file_name": "a.png", "text": "a", "label": 1}, r"some lines have a label"),
    ],
)
def test_bad_metadata_is_refused_by_its_line(tmp_path, bad, message):
    with pytest.raises(UserError, match=message):
        FolderSource("train", folder(tmp_path, [*rows(1), bad], pictures=False))


def test_metadata_in_utf_8_whatever_the_line_separators(tmp_path):
    text = "left\u2028right \x85 圆"
    (tmp_path / "metadata.jsonl").write_bytes(
        json.dumps({"file_name": "a.png", "text": text}, ensure_ascii=False).encode() + b"\r\n"
    )
    assert FolderSource("train", str(tmp_path), val=0.0, test=0.0).text(0) == text
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "\xff"}')
    with pytest.raises(UserError, match=r"metadata\.jsonl: cannot be read as UTF-8"):
        FolderSource("train", str(tmp_path))


def test_bad_records_are_refused_by_name_when_read(tmp_path):
    bad = [
        {"file_name": "../../x.png", "text": "a"},
        {"file_name": "missing.png", "text": "a"},
        {"file_name": "blank.png", "text": "  "},
        {"file_name": "broken.png", "text": "a"},
        {"file_name": "half.png", "text": "a smile \ud83d"},
    ]
    root = folder(tmp_path, bad, pictures=False)
    for name in ("blank.png", "half.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    records = FolderSource("train", root, val=0.0, test=0.0)
    for i, row in enumerate(bad):
        with pytest.raises(UserError, match=row["file_name"].replace(".", r"\.")):
            records[i]


def test_bad_options(tmp_path):
    root = folder(tmp_path, rows(2))
    config = {"name": "folder", "root": root}
    for options, message in (
        ({"root": str(tmp_path / "none")}, r"data\.source\.root=.*no such folder"),
        ({"val": 0.8, "test": 0.7}, r"data\.source\.val=0\.8, test=0\.7"),
        ({"background": (1, 2, 300)}, r"data\.source\.background"),
        ({"backgroun": (1, 2, 3)}, r"did you mean 'background'"),
        ({"val": 1.0, "test": 0.0}, r"no examples in the train split"),
    ):
        with pytest.raises(UserError, match=message):
            source(DataConfig(source=config | options), "train")
    with pytest.raises(UserError, match=r"no 'length' split"):
        source(DataConfig(source=config), "length")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no metadata\.jsonl and no folder of pictures"):
        FolderSource("train", str(tmp_path / "empty"))


def test_pictures_that_are_alike_are_on_one_side(tmp_path):
    names = [f"hand{i}{tone}.png" for i in range(40) for tone in ("", "_light", "_dark")]
    root = folder(tmp_path, [{"file_name": n, "text": n} for n in names], pictures=False)
    options = {"val": 0.3, "test": 0.3, "alike": "_(light|dark)"}
    sides = []
    for split in ("train", "val", "test"):
        records = FolderSource(split, root, **options)
        texts = [records.text(i) for i in range(len(records))]
        sides.append({text.partition(".")[0].partition("_")[0] for text in texts})
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40
    assert all(sides)
    with pytest.raises(UserError, match="not a regular expression"):
        FolderSource("train", root, alike="(")
