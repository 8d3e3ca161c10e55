"""Files in the form that GeNeVA's scripts write, small ones that the tests make."""

import json

import numpy as np
import pytest

from vismem.data import DataConfig, source
from vismem.errors import UserError

h5py = pytest.importorskip("h5py")

TEXTS = {"b": ["add a red cube at the center", "add a blue sphere behind it"], "a": ["add one"]}


def pictures(count: int, size: int = 128) -> np.ndarray:
    """Turn t is drawn in (r, g, b) = (200, t, 0), stored blue first as OpenCV does."""
    images = np.zeros((count, size, size, 3), np.uint8)
    images[..., 2], images[..., 1] = 200, np.arange(count)[:, None, None]
    return images


def write_iclevr(folder, texts=TEXTS, **instead):
    with h5py.File(folder / "clevr_test.h5", "w") as file:
        file.create_dataset("background", data=pictures(1, 160)[0][:120])
        file.create_dataset("entities", data=json.dumps(["cube red", "sphere blue"]))
        for key, several in texts.items():
            turns, group = len(several), file.create_group(key)
            coords = np.zeros((turns, 24, 3))
            coords[:, 3] = 64, 32, 7.5
            objects = np.zeros((turns, 24))
            objects[:, 3] = 1
            entries = {
                "scene_id": key,
                "images": pictures(turns),
                "text": json.dumps(several),
                "objects": objects,
                "coords": coords,
            }
            for name, data in (entries | instead).items():
                if data is not None:
                    group.create_dataset(name, data=data)


def records(folder, dataset="iclevr", size=32, split="test"):
    choice = {"name": "geneva", "folder": str(folder), "dataset": dataset}
    return source(DataConfig(source=choice, size=size), split)


def test_iclevr(tmp_path):
    write_iclevr(tmp_path)
    found = records(tmp_path)
    assert len(found) == 2  # in the order of their names
    short, long = found[0], found[1]
    assert short["texts"] == ("add one", "")
    assert long["texts"] == tuple(TEXTS["b"])
    assert long["mask"].all()
    assert short["mask"].tolist() == [True, False]
    assert long["image"].shape == (2, 32, 32, 3)
    assert long["image"][1, 5, 5].tolist() == [200, 1, 0]
    assert not short["image"][1].any()
    assert np.argwhere(long["objects"]).tolist() == [[0, 3], [1, 3]]
    assert long["coords"][1, 3].tolist() == [0.5, 0.25, 7.5]
    assert found.text(1) == "\n".join(TEXTS["b"])


def test_codraw(tmp_path):
    said = ["<teller> a tree <drawer> where ?", "<teller> on the left"]
    with h5py.File(tmp_path / "codraw_test.h5", "w") as file:
        file.create_dataset("background", data=pictures(1)[0])
        group = file.create_group("0")
        group.create_dataset("images", data=list(pictures(2)))
        text = h5py.special_dtype(vlen=str)
        group.create_dataset("utterences", data=np.bytes_(said), dtype=text)
        group.create_dataset("objects", data=np.eye(58, dtype=int)[:2])
        group.create_dataset("coords", data=np.full((2, 58, 3), 64))
        group.create_dataset("scene_id", data=17)
    record = records(tmp_path, "codraw", size=128)[0]
    assert record["texts"] == tuple(said)
    assert (record["image"] == pictures(2)[..., ::-1]).all()
    assert record["objects"].shape == (2, 58)
    assert record["objects"].sum() == 2
    assert (record["coords"][..., :2] == 0.5).all()


def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file; GeNeVA's scripts for iclevr write it"):
        records(tmp_path)
    with pytest.raises(UserError, match="dataset='clevr': must be iclevr or codraw"):
        records(tmp_path, "clevr")
    write_iclevr(tmp_path, texts={})
    with pytest.raises(UserError, match="has no conversations"):
        records(tmp_path)
    write_iclevr(tmp_path, text=json.dumps(["one"]))
    with pytest.raises(UserError, match="b has 1 texts, 2 images"):
        records(tmp_path)[1]
    write_iclevr(tmp_path, text="add one")
    with pytest.raises(UserError, match="a: its text cannot be read"):
        records(tmp_path)[0]
    write_iclevr(tmp_path, text=7)
    with pytest.raises(UserError, match="a: its text cannot be read"):
        records(tmp_path)[0]
    write_iclevr(tmp_path, texts={"a": ["add one", " "]})
    with pytest.raises(UserError, match="a: a turn has no text"):
        records(tmp_path)[0]
    write_iclevr(tmp_path, coords=None)
    with pytest.raises(UserError, match="a has no 'coords'"):
        records(tmp_path)[0]
    for wrong, said in (
        ({"images": pictures(2)[..., 0]}, r"a has images of shape \[2, .*\] where \[T, H, W, 3\]"),
        ({"images": 7}, r"a has images of shape \[\]"),
        ({"objects": np.zeros(24)}, r"a has objects of shape \[24\] where \[T, N\]"),
        ({"coords": np.zeros((1, 23, 3))}, r"a has coords of shape .* where \[T, 24, 3\]"),
    ):
        write_iclevr(tmp_path, **wrong)
        with pytest.raises(UserError, match=said):
            records(tmp_path)[0]
    (tmp_path / "clevr_test.h5").write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        records(tmp_path)
