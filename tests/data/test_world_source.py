import numpy as np
import pytest

from vismem import worlds
from vismem.data import DataConfig, augment, pipeline, source, tokenizers
from vismem.errors import UserError

TINY = {"name": "world", "preset": "tiny"}


def test_records_are_the_worlds_examples():
    records = source(DataConfig(source=TINY | {"style": "fixed", "examples": 9}, size=48), "val")
    assert len(records) == 9
    for i in range(9):
        example = worlds.world("tiny").example("val", i, style="fixed")
        assert (records[i]["image"] == example.image(48)).all()
        assert records[i]["text"] == records.text(i) == example.text
        assert records[i]["index"] == i


def test_errors():
    for options, split, message in (
        ({"examples": 0}, "train", r"data\.source\.examples=0"),
        ({"preset": "tinny"}, "train", r"did you mean 'tiny'"),
        ({"lang": "fr"}, "train", r"lang='fr'"),
        ({}, "trial", r"split='trial'"),
    ):
        with pytest.raises(UserError, match=message):
            source(DataConfig(source=TINY | options), split)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_flipped_pictures_obey_the_mirrored_texts(lang):
    """The oracle reads the flipped picture; the mirrored text's claim, parsed anew, holds of it."""
    world = worlds.world("tiny")
    flip, rng = augment.Flip(), np.random.default_rng(0)
    flipped = mirrored = 0
    for i in range(300):
        example = world.example("train", i, lang=lang)
        given = {"image": example.image(64), "text": example.text}
        result = flip(given, rng)
        scene = worlds.oracle.read(np.ascontiguousarray(result["image"]))
        assert world.parse(result["text"], lang).holds(scene), result["text"]
        flipped += not np.array_equal(given["image"], result["image"])
        if result["text"] != example.text:
            mirrored += not world.parse(example.text, lang).holds(scene)
    assert flipped > 100
    assert mirrored > 30  # pictures flipped without their words would have been wrong


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_a_trained_tokenizer_knows_the_held_out_captions(name):
    """Texts of the compositional split have pieces seen in training only, and fit."""
    config = DataConfig(
        source=TINY | {"lang": "mixed", "style": "fixed", "examples": 2000},
        tokenizer={"name": name, "length": 160},
    )
    train, held_out = source(config, "train"), source(config, "compositional")
    tokenizer = tokenizers.make(config.tokenizer, train)
    known = np.unique([tokenizer.encode(train.text(i)) for i in range(len(train))])
    tokens = np.stack([tokenizer.encode(held_out.text(i)) for i in range(500)])
    assert np.isin(tokens, known).all()
    assert (tokens[:, -1] == 0).all()


def test_batches_of_the_world():
    config = DataConfig(source=TINY, tokenizer={"name": "byte", "length": 200})
    records = source(config, "train")
    iterator = pipeline.batches(config, records, tokenizers.make(config.tokenizer, records), 8, 0)
    batch = next(iterator)
    iterator.close()
    assert batch.keys() == {"image", "tokens"}
    assert batch["image"].shape == (8, 32, 32, 3)
    for image, tokens in zip(batch["image"], batch["tokens"]):
        text = bytes((tokens[tokens > 0] - 1).astype(np.uint8).tolist()).decode()
        claim = worlds.world("tiny").parse(text)
        assert claim.holds(worlds.oracle.read(image)), text
