from collections import Counter

import numpy as np
import pytest

from vismem import worlds
from vismem.data import DataConfig, augment, pipeline, source, tokenizers
from vismem.errors import UserError
from vismem.worlds.questions import SORTS

TINY = {"name": "questions", "preset": "tiny"}


def test_records_are_the_worlds_questions():
    records = source(DataConfig(source=TINY), "val")
    world = worlds.world("tiny")
    for i in range(50):
        record, example = records[i], world.example("val", i)
        assert (record["image"] == example.image(32)).all()
        asked = {q.text: q for q in example.questions()}[record["prompt"]]
        assert (record["text"], record["about"]) == (asked.answer, asked.about)
        assert records.text(i) == f"{asked.text}\n{asked.answer}"


def test_every_sort_is_asked_wherever_one_looks():
    """Evenly spaced records, which evaluators and tokenizers take, are of all sorts."""
    records = source(DataConfig(source=TINY), "train")
    for step in (1, 5, 100):
        counts = Counter(records[i * step]["about"] for i in range(300))
        assert counts.keys() == set(SORTS)
        assert max(counts.values()) < 120


def test_batches_have_prompts_beside_texts():
    config = DataConfig(source=TINY, tokenizer={"name": "bpe", "vocab_size": 512, "length": 16})
    records = source(config, "train")
    tokenizer = tokenizers.make(config.tokenizer, records)
    iterator = pipeline.batches(config, records, tokenizer, 8, 0, train=False)
    batch = next(iterator)
    iterator.close()
    for i in range(8):
        assert tokenizer.decode(batch["prompt_tokens"][i]) == records[i]["prompt"]
        assert tokenizer.decode(batch["tokens"][i]) == records[i]["text"]
        assert np.count_nonzero(batch["tokens"][i]) == 1  # an answer is a word, learned as one


def test_flipped_pictures_are_asked_about_the_other_side():
    records, flip = source(DataConfig(source=TINY), "train"), augment.Flip()
    rng, seen = np.random.default_rng(0), set()
    for i in range(200):
        record = records[i]
        flipped = flip(record, rng)
        if (flipped["image"] == record["image"]).all():
            assert flipped["prompt"] == record["prompt"]
        elif record["about"] == "relation":
            seen.add(
                (record["prompt"] != flipped["prompt"])
                == ("left" in record["prompt"] or "right" in record["prompt"])
            )
    assert seen == {True}


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"data\.source\.examples=0"):
        source(DataConfig(source=TINY | {"examples": 0}), "train")
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        source(DataConfig(source=TINY | {"preset": "tinny"}), "train")
