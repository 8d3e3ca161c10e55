"""A data set is prepared here as a user would, and read back."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vismem import config as configs
from vismem.data import DataConfig, pipeline, source, tokenizers
from vismem.data import tfds as tfds_source
from vismem.data.tfds import TfdsSource
from vismem.errors import UserError
from vismem.evaluation.retrieval import Retrieval
from vismem.training import run

DATA = Path(__file__).parents[3] / "shared" / "data"
EMOJI = DATA / "emoji"


def prepare(folder, features, splits):
    """Writes a data set's array_record files, in the order given; returns the folder."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_info import DatasetIdentity

    folder.mkdir(exist_ok=True)
    identity = DatasetIdentity("prepared", tfds.core.Version("1.0.0"), str(folder), __name__)
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, 1000, file_format="array_record")
    writer.initialize_splits(list(splits))
    writer.add_examples(splits)
    writer.close_all()
    return str(folder)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Six grey pictures of two classes, one with an empty caption."""
    from tensorflow_datasets import features

    rows = [
        {
            "picture": png(Image.new("L", (7, 5), 10 * i)),
            "caption": f"number {i}" if i != 4 else " ",
            "kind": i % 2 if i != 2 else -1,
        }
        for i in range(6)
    ]
    spec = features.FeaturesDict(
        {
            "picture": features.Image(shape=(None, None, 1)),
            "caption": features.Text(),
            "kind": features.ClassLabel(names=["cat", "dog"]),
        }
    )
    return prepare(tmp_path_factory.mktemp("classes"), spec, {"train": rows, "test": rows[:2]})


def test_features_by_name(classes):
    records = TfdsSource("train", classes, image="picture", text="caption", label="kind")
    assert len(records) == 6
    assert records[3].keys() == {"image", "text", "label"}
    assert records.classes == {0: "cat", 1: "dog"}
    assert (records[3]["image"] == np.full((5, 7, 3), 30)).all()
    assert (records[3]["text"], records[3]["label"]) == ("number 3", 1)
    with pytest.raises(UserError, match=r"prepared/1\.0\.0 train record 4: its text is empty"):
        records[4]


def test_texts_without_decoding_pictures(classes, monkeypatch):
    records = TfdsSource("train", classes, image="picture", text="caption")
    read = [records[i]["text"] for i in (0, 3)]
    monkeypatch.setattr(tfds_source, "decode", None)
    assert [records.text(i) for i in (0, 3)] == read
    with pytest.raises(UserError, match=r"train record 4: its text is empty"):
        records.text(4)


def test_class_names_as_texts_and_slices_as_splits(classes):
    options = {"image": "picture", "text": "kind", "splits": {"val": "train[50%:]"}}
    records = TfdsSource("val", classes, **options)
    assert [records[i]["text"] for i in range(3)] == ["dog", "cat", "dog"]
    assert "label" not in records[0]
    with pytest.raises(UserError, match=r"train record 2: its text is empty"):
        TfdsSource("train", classes, image="picture", text="kind")[2]
    assert len(TfdsSource("test", classes, **options)) == 2


def test_errors(classes, tmp_path):
    with pytest.raises(UserError, match=r"data\.source\.folder=.*no prepared data set"):
        TfdsSource("train", str(tmp_path))
    with pytest.raises(UserError, match=r"data\.source\.image='image': no such feature.*picture"):
        TfdsSource("train", classes)
    with pytest.raises(UserError, match=r"data\.source\.image='picture/0': no such feature"):
        TfdsSource("train", classes, image="picture/0", text="caption")
    with pytest.raises(UserError, match=r"no val split in") as error:
        TfdsSource("val", classes, image="picture", text="caption")
    assert "\n" not in str(error.value)


def photographs(count):
    """Files of JPEGs; where the shared data is missing, of noise."""
    found = sorted((DATA / "bccd" / "BCCD" / "JPEGImages").glob("*.jpg"))[:count]
    return [path.read_bytes() for path in found] or [noise(seed) for seed in range(count)]


def noise(seed):
    buffer, rng = io.BytesIO(), np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (260, 300, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def t5(folder):
    """A T5's tokenizer with a few pieces, in a folder as its makers' is; the library's own."""
    from transformers import T5Tokenizer

    pieces = ("<pad>", "</s>", "<unk>", "▁", "▁picture", "▁caption", ",", *map(str, range(5)))
    made = T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0)
    made.save_pretrained(str(folder))
    return made


def test_records_that_cannot_be_read_are_named(classes, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(classes, folder)
    for shard in folder.glob("*.array_record*"):
        shard.write_bytes(shard.read_bytes()[:40])
    names = {"image": "picture", "text": "caption", "label": "kind"}
    source = TfdsSource("train", str(folder), **names)
    with pytest.raises(UserError, match=r"prepared.* train record 0: cannot be read \("):
        source[0]
    with pytest.raises(UserError, match=r"data\.source\.label='caption': is no whole number"):
        TfdsSource("train", classes, **(names | {"label": "caption"}))


def test_coco_captions_as_its_experiment_reads_them(tmp_path):
    """Features as tfds' coco_captions has them, five captions a picture and once three."""
    from tensorflow_datasets import features

    spec = features.FeaturesDict(
        {
            "image": features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "image/filename": features.Text(),
            "captions": features.Sequence({"id": np.int64, "text": features.Text()}),
        }
    )
    pictures = photographs(3)
    rows = [
        {
            "image": pictures[i],
            "image/filename": f"{i}.jpg",
            "captions": [{"id": j, "text": f"picture {i}, caption {j}"} for j in range(count)]
            + [{"id": 9, "text": " "}] * (5 - count),
        }
        for i, count in enumerate((5, 3, 5))
    ]
    folder = prepare(tmp_path / "coco", spec, {"train": rows, "test": rows})
    file = Path(__file__).parents[2] / "experiments" / "coco.py"
    reference = t5(tmp_path / "t5")
    settings = [f"--config.data.source.folder={folder}", "--config.data.threads=0"]
    settings.append(f"--config.text.folder={tmp_path / 't5'}")
    coco = configs.run_config(configs.override(configs.load(str(file)), settings))
    data = coco.data
    records = source(data, "train")
    assert len(records) == 15
    assert [records[i]["text"] for i in (0, 4, 5, 8, 14)] == [
        *("picture 0, caption 0", "picture 0, caption 4"),
        *("picture 1, caption 0", "picture 1, caption 0", "picture 2, caption 4"),
    ]
    assert records[0]["captions"] == tuple(f"picture 0, caption {j}" for j in range(5))
    assert records[7]["captions"] == tuple(f"picture 1, caption {j}" for j in range(3))
    for i, picture in enumerate(pictures):
        np.testing.assert_array_equal(records[5 * i]["image"], Image.open(io.BytesIO(picture)))
    tokenizer = run.make_tokenizer(coco, tmp_path / "run", records)
    batches = pipeline.batches(data, records, tokenizer, 4, seed=0)
    batch = next(batches)
    batches.close()
    assert batch["image"].shape == (4, 256, 256, 3)
    assert batch["tokens"].shape == (4, 64)
    said = {tuple(reference(records[i]["text"])["input_ids"]) for i in range(15)}
    for tokens in batch["tokens"]:
        ids = tuple(tokens[tokens > 0].tolist())
        assert ids in said
        assert ids[-1] == reference.eos_token_id
        assert reference.unk_token_id not in ids
    towers = {"objective": SimpleNamespace(embed_images=None), "tokenizer": None}
    searched = Retrieval(**towers, data=data)  # each picture once, with all that is said of it
    assert [len(image) for image in searched.images] == [256] * 3
    assert list(map(len, searched.captions)) == [5, 3, 5]
    with pytest.raises(UserError, match=r"data\.source\.text='captions/texts': no such feature"):
        TfdsSource("train", folder, text="captions/texts")


@pytest.mark.skipif(not EMOJI.exists(), reason="../shared/data/emoji is missing")
def test_same_first_batch_as_the_folder_it_was_made_from(tmp_path):
    """Part of the emoji: transparent pictures, augmented, from files and from array_record."""
    from tensorflow_datasets import features

    part = tmp_path / "part"
    lines = (EMOJI / "metadata.jsonl").read_text().splitlines()[::40]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        copy = part / row["file_name"]
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((EMOJI / row["file_name"]).read_bytes())
    (part / "metadata.jsonl").write_text("\n".join(lines))
    folder = {"name": "folder", "root": str(part), "val": 0.0, "test": 0.0}
    examples = [{"image": str(part / r["file_name"]), "text": r["text"]} for r in rows]
    spec = features.FeaturesDict(
        {"image": features.Image(shape=(None, None, 4)), "text": features.Text()}
    )
    prepared = prepare(tmp_path / "prepared", spec, {"train": examples})
    first = []
    for options in (folder, {"name": "tfds", "folder": prepared}):
        config = DataConfig(
            source=options | {"background": (90, 120, 30)},
            tokenizer={"name": "bpe", "vocab_size": 300, "length": 24},
            augment={"crop": {}, "flip": {}, "color": {"hue": 0.1}},
        )
        records = source(config, "train")
        tokenizer = tokenizers.make(config.tokenizer, records)
        batches = pipeline.batches(config, records, tokenizer, 32, seed=3)
        first.append(next(batches))
        batches.close()
    assert len(rows) > 64
    assert first[0].keys() == first[1].keys()
    for key in first[0]:
        np.testing.assert_array_equal(first[0][key], first[1][key])
