"""The source of edits: what is shown of them, and what is wrong with pictures to be restored."""

import numpy as np
import pytest

from vismem import worlds
from vismem.data import DataConfig, pipeline, source, tokenizers
from vismem.data.edits import DAMAGES, GREY, shown, spoil
from vismem.errors import UserError
from vismem.worlds.render import render


def records(**options):
    return source(DataConfig(source={"name": "edits", **options}, size=32), "train")


def test_the_picture_after_is_the_one_before_where_it_is_kept():
    masked = records(kinds={"inpaint": 1.0})
    for i in range(20):
        record, edit = masked[i], worlds.Edits().example("train", i, "inpaint")
        kept, first = record["kept"][0], record["first"]
        assert (first[kept] == record["image"][0][kept]).all()
        assert (first[~kept] == GREY).all()
        assert 0 < (~kept).sum() < 32 * 32
        # All of the thing is hidden.
        hidden = np.where(kept[..., None], render(edit.after, 32), 0)
        read = worlds.oracle.read(np.where(kept[..., None], hidden, 250).astype(np.uint8))
        assert len(read.things) <= len(edit.after.things) - 1


def test_without_a_mask_nothing_must_stay():
    for i in range(8):
        record = records(kinds={"instruct": 1.0, "restyle": 1.0, "restore": 1.0})[i]
        assert not record["kept"].any()
        assert (record["first"] != record["image"][0]).any()
        assert record["texts"][0]


def test_kinds_come_as_often_as_they_weigh():
    few = records(kinds={"restore": 3.0, "restyle": 1.0})
    texts = [few.text(i) for i in range(200)]
    assert 0.65 < np.mean(["picture" in text for text in texts]) < 0.85
    assert texts[:5] == [few[i]["texts"][0] for i in range(5)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_repeatable_and_damage(damage):
    picture = render(worlds.world("tiny").example("train", 0, count=2).scene, 32)
    spoilt = spoil(picture, damage, 3)
    np.testing.assert_array_equal(spoilt, spoil(picture, damage, 3))
    assert spoilt.shape == picture.shape
    assert spoilt.dtype == np.uint8
    assert (spoilt != picture).mean() > 0.02
    assert (spoil(picture, damage, 4) != spoilt).any() or damage == "downscaled"


def test_all_damages_occur():
    edits = worlds.Edits()
    pictures = [shown(edits.example("train", 7, "restore"), 32, seed)[0] for seed in range(4)]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_batches_of_edits():
    config = DataConfig(source={"name": "edits", "examples": 8}, threads=0)
    some = source(config, "train")
    tokenizer = tokenizers.make({"name": "byte", "length": 64}, some)
    batches = pipeline.batches(config, some, tokenizer, 4, seed=0, train=False)
    batch = next(batches)
    batches.close()
    shapes = {name: (x.shape, str(x.dtype)) for name, x in batch.items()}
    assert shapes["image"] == ((4, 1, 32, 32, 3), "uint8")
    assert shapes["first"] == ((4, 32, 32, 3), "uint8")
    assert shapes["kept"] == ((4, 1, 32, 32), "bool")
    assert shapes["tokens"] == ((4, 1, 64), "int32")


def test_corrections_follow_what_was_misunderstood():
    options = {"name": "dialogue", "turns": 5, "corrections": 0.5}
    some = source(DataConfig(source=options, size=32), "train")
    corrected = 0
    for i in range(10):
        record, claims = some[i], worlds.dialogue().example("train", i, turns=5).claims
        assert record["image"].shape == record["left"].shape == (5, 32, 32, 3)
        number = 0  # of the instruction
        for t in range(5):
            claim, last = claims[number], t == 4
            assert claim.holds(worlds.oracle.read(record["image"][t]))
            if (record["left"][t] == record["image"][t]).all():
                number += 1
                continue
            corrected += 1
            assert not claim.holds(worlds.oracle.read(record["left"][t]))
            if not last:
                assert "should be" in record["texts"][t + 1]
                np.testing.assert_array_equal(record["image"][t + 1], record["image"][t])
    assert 10 < corrected < 30
    assert "left" not in source(DataConfig(source=options | {"corrections": 0.0}), "train")[0]


def test_mistakes_are_named():
    with pytest.raises(UserError, match="did you mean 'restyle'"):
        records(kinds={"restile": 1.0})
    with pytest.raises(UserError, match="needs a share above 0"):
        records(kinds={"restyle": 0.0})
    with pytest.raises(UserError, match="needs a share above 0"):
        records(kinds={"restyle": float("nan"), "inpaint": 1.0})
    with pytest.raises(UserError, match=r"corrections=1\.5"):
        source(DataConfig(source={"name": "dialogue", "corrections": 1.5}), "train")
