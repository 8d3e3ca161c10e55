import numpy as np
import pytest

from vismem import worlds
from vismem.data import DataConfig, source
from vismem.errors import UserError

TINY = {"name": "dialogue", "preset": "tiny"}


def test_records_are_the_worlds_conversations_filled_up_with_empty_turns():
    records = source(DataConfig(source=TINY | {"lang": "mixed", "examples": 9}, size=32), "val")
    assert len(records) == 9
    for i in range(9):
        talk, record = worlds.dialogue("tiny").example("val", i, "mixed"), records[i]
        n = len(talk.turns)
        assert record["image"].shape == (8, 32, 32, 3)
        assert record["image"].dtype == np.uint8
        assert all((record["image"][t] == talk.image(t, 32)).all() for t in range(n))
        assert not record["image"][n:].any()
        assert record["texts"] == (*talk.texts, *[""] * (8 - n))
        assert record["needs_memory"].tolist() == [*talk.needs_memory, *[False] * (8 - n)]
        assert record["mask"].tolist() == [True] * n + [False] * (8 - n)
        assert record["index"] == i
        assert records.text(i) == "\n".join(talk.texts)


def test_conversations_of_a_given_length_have_no_empty_turns():
    records = source(DataConfig(source=TINY | {"turns": 3}), "train")
    assert records[0]["image"].shape == (3, 32, 32, 3)
    assert records[0]["mask"].all()


def test_errors():
    for options, split, message in (
        ({"examples": 0}, "train", r"data\.source\.examples=0"),
        ({"preset": "tinny"}, "train", r"did you mean 'tiny'"),
        ({"turns": 9}, "train", r"turns=9"),
        ({"lang": "fr"}, "train", r"lang='fr'"),
        ({}, "length", r"split='length'"),
    ):
        with pytest.raises(UserError, match=message):
            source(DataConfig(source=TINY | options), split)
