"""Evaluators of edits and corrections against artists whose worth is known."""

import sys

import numpy as np
import pytest

from vismem.data import DataConfig
from vismem.data.edits import shown
from vismem.drawing.artist import Drawing
from vismem.errors import UserError
from vismem.evaluation.corrections import Corrections
from vismem.evaluation.dialogues import Dialogues, shares
from vismem.evaluation.edits import EditScores
from vismem.models.generator import Carry
from vismem.worlds.render import render

pytest.importorskip("skimage")
EDITS = DataConfig(source={"name": "edits"}, size=32)
TALKS = DataConfig(source={"name": "dialogue", "turns": 3}, size=32)


class Editor:
    """Edits as it should, or gives back what it was given."""

    def __init__(self, evaluator: EditScores, able: bool):
        self.able = able
        self.after = {
            shown(edit, 32, i)[0].tobytes(): render(edit.after, 32)
            for edits in evaluator.edits.values()
            for i, edit in enumerate(edits)
        }

    def open(self, pictures, params):
        return pictures

    def draw(self, texts, *, params, seed, carry, kept):
        drawn = [self.after[picture.tobytes()] if self.able else picture for picture in carry]
        return Drawing(np.stack(drawn), carry=None)


@pytest.mark.parametrize("able", [True, False])
def test_edits(able):
    evaluator = EditScores(artist=None, data=EDITS, seed=0, count=16)
    evaluator.artist = Editor(evaluator, able)
    numbers = evaluator.run({"ema": None})
    for kind in ("inpaint", "instruct", "restyle"):
        share = numbers[f"test/{kind}/exact_claim"]
        assert share > 0.9 if able else share == 0
    for kind in ("inpaint", "instruct", "restyle"):  # a new background lies around things, too
        assert numbers[f"test/{kind}/change_outside"] == 0
    if not able:
        for damage in ("", ", noise", ", blur", ", downscaled", ", occluded"):
            for name in ("psnr", "ssim"):
                own, given = (numbers[f"test/restore/{of}{name}{damage}"] for of in ("", "input "))
                assert own == given
                assert given < {"psnr": 40, "ssim": 0.999}[name]
    else:
        assert numbers["test/restore/ssim"] == 1
        assert numbers["test/restore/psnr"] == np.inf
    assert numbers["test inpaint"].width > 4 * 128


def test_no_number_is_given_of_damages_that_no_picture_has():
    data = DataConfig(source={"name": "edits", "kinds": {"restore": 1.0}}, size=32)
    evaluator = EditScores(artist=None, data=data, seed=0, count=2)
    evaluator.artist = Editor(evaluator, able=False)
    numbers = evaluator.run({"ema": None})
    assert "test/restore/psnr, blur" in numbers
    assert "test/restore/psnr, occluded" not in numbers


def test_a_kept_pixel_that_is_touched_is_a_change_outside():
    data = DataConfig(source={"name": "edits", "kinds": {"inpaint": 1.0}}, size=32)
    evaluator = EditScores(artist=None, data=data, seed=0, count=4)
    right = Editor(evaluator, able=True)

    class Careless(Editor):
        """Changes a pixel that must stay, by 30 of 255."""

        def draw(self, texts, *, kept, **given):
            images = right.draw(texts, kept=kept, **given).images.copy()
            for image, stays in zip(images, kept):
                row, column = np.argwhere(stays)[0]
                pixel = image[row, column]
                image[row, column] = np.where(pixel < 128, pixel + 30, pixel - 30)
            return Drawing(images, carry=None)

    evaluator.artist = Careless(evaluator, able=True)
    changed = evaluator.run({"ema": None})["test/inpaint/change_outside"]
    kept = np.stack([shown(edit, 32, i)[1] for i, edit in enumerate(evaluator.edits["inpaint"])])
    assert changed == pytest.approx(np.mean(30 / kept.sum((1, 2))))


def test_a_library_that_is_missing_is_named_before_the_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(UserError, match=r"pip install 'vismem\[edits\]'"):
        EditScores(artist=None, data=EDITS, seed=0, count=1)
    kinds = {"inpaint": 1.0, "restore": 0.0}
    inpaint = DataConfig(source={"name": "edits", "kinds": kinds}, size=32)
    assert list(EditScores(artist=None, data=inpaint, seed=0, count=1).edits) == ["inpaint"]


class Follower:
    """Draws what was asked for, but in the turns that need memory, where it draws nothing new."""

    def __init__(self, talks):
        self.talks, self.turn = talks, 0

    def draw(self, texts, *, params, seed, carry):
        i, self.turn = self.turn, self.turn + 1
        blank = np.full((32, 32, 3), 255, np.uint8)
        images = [blank if t.turns[i].needs_memory else t.image(i, 32) for t in self.talks]
        return Drawing(np.stack(images), carry=None)


def test_dialogues_by_whether_turns_need_memory():
    evaluator = Dialogues(artist=None, data=TALKS, seed=0, count=24)
    evaluator.artist = Follower(evaluator.talks)
    numbers = evaluator.run({"ema": None})
    needs = np.mean([talk.needs_memory for talk in evaluator.talks])
    assert 0 < needs < 1
    assert numbers["test/needs_memory"] == pytest.approx(needs)
    claim = "test/exact_claim"
    assert numbers[f"{claim}, canvas suffices"] > 0.95
    assert numbers[f"{claim}, needs memory"] < 0.2
    low, share, high = (numbers[f"{claim}{end}"] for end in (", low", "", ", high"))
    assert low < share < high


def test_there_is_no_share_of_turns_that_there_are_not():
    assert shares("x", np.ones((2, 3), bool), np.zeros((2, 3), bool)) == {}


class Listener:
    """Draws near misses in last turns, and what is right once it has been corrected so often."""

    def __init__(self, talks, turns: int, patience: int):
        self.talks, self.turns, self.patience, self.drawn = talks, turns, patience, 0

    def draw(self, texts, *, params, seed, carry):
        turn, self.drawn = self.drawn, self.drawn + 1
        if turn < self.turns - 1:
            assert texts == [talk.texts[turn] for talk in self.talks]
        elif turn >= self.turns:
            assert all("should be" in text for text in texts)
        right = turn >= self.turns - 1 + self.patience
        images = np.stack(
            [
                talk.image(self.turns - 1, 32)
                if right
                else render(talk.near_miss(self.turns - 1).scene, 32)
                for talk in self.talks
            ]
        )
        if turn:
            assert carry.estimate.max() <= 1
        return Drawing(images, Carry(np.zeros((len(texts), 0, 1)), images / 127.5 - 1))


@pytest.mark.parametrize("patience", [0, 2])
def test_corrections(patience):
    evaluator = Corrections(artist=None, data=TALKS, seed=0, count=12)
    evaluator.artist = Listener(evaluator.talks, 3, patience)
    if patience == 0:  # then later texts are the instruction's own
        evaluator.corrections = 0
    numbers = evaluator.run({"ema": None})
    shares = [x for name, x in numbers.items() if isinstance(x, float)]
    assert shares == ([1.0] if patience == 0 else [0, 0, 1, 1])
    assert ("test corrected" in numbers) == (patience > 0)
    assert numbers["test corrections"].size == (576, 432)


def test_sources_that_do_not_fit_are_named():
    with pytest.raises(UserError, match=r"data\.source\.name='dialogue'"):
        EditScores(artist=None, data=TALKS, seed=0)
    with pytest.raises(UserError, match=r"data\.source\.name='edits'"):
        Corrections(artist=None, data=EDITS, seed=0)
