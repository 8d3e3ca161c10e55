"""Evaluators against drawings whose worth is known."""

import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vismem import worlds
from vismem.data import DataConfig
from vismem.drawing.artist import Drawing
from vismem.errors import UserError
from vismem.evaluation import EVALUATORS
from vismem.evaluation.base import check_counts
from vismem.evaluation.claims import Claims, score
from vismem.evaluation.grid import Grid
from vismem.evaluation.loss import ValidationLoss
from vismem.evaluation.nearest import nearest
from vismem.evaluation.reconstruction import Reconstruction
from vismem.evaluation.speed import Speed
from vismem.objectives.autoencode import Autoencode
from vismem.registry import resolve

TINY = DataConfig(source={"name": "world", "preset": "tiny"})


class Perfect:
    """An artist that draws what a caption was made from, or something else."""

    def __init__(self, examples):
        self.images = {example.text: example.image(32) for example in examples}

    def draw(self, texts, *, params, seed):
        return Drawing(np.stack([self.images[text] for text in texts]), carry=None)


def test_a_perfect_artist_scores_one_and_a_careless_one_does_not():
    world = worlds.world("tiny")
    examples = [world.example("test", i, style="fixed", count=1 + i % 2) for i in range(40)]
    images = np.stack([example.image(32) for example in examples])
    perfect = score(examples, images)
    assert perfect["exact_claim"] == perfect["object_f1"] == 1
    # The side of the picture's centre a thing is on can turn with a reading error of half a pixel.
    assert perfect["rsim"] > 0.95
    shuffled = score(examples, np.roll(images, 1, axis=0))
    assert shuffled["exact_claim"] < 0.1
    assert shuffled["rsim"] < 0.3


def test_claims_reports_every_set_it_is_asked_for():
    claims = Claims(artist=None, data=TINY, seed=0, sets=("test", "length"), count=6)
    claims.artist = Perfect([e for found in claims.examples.values() for e in found])
    results = claims.run({"ema": None})
    assert results["test/exact_claim"] == results["length/exact_claim"] == 1
    assert {len(e.scene.things) for e in claims.examples["test"]} == {1, 2}
    assert {len(e.scene.things) for e in claims.examples["length"]} == {3}


def test_expansions_are_held_against_the_claims_of_their_requests():
    drawn = {}

    class Drawer:
        def draw(self, texts, *, params, seed):
            blank = np.zeros((32, 32, 3), np.uint8)
            images = [drawn[text].image(32) if text in drawn else blank for text in texts]
            return Drawing(np.stack(images), carry=None)

    def opened(folder):
        assert folder == "there"
        expand = lambda texts, seed: [f"{text}, in full" for text in texts]  # noqa: E731
        return SimpleNamespace(expand=expand)

    given = dict(artist=Drawer(), data=TINY, seed=0, count=3, open_expander=opened)
    claims = Claims(**given, sets=("vague",), expander="there")
    drawn |= {f"{e.text}, in full": e for e in claims.examples["vague"]}
    results = claims.run({"ema": None})
    assert results["vague, expanded/exact_claim"] == 1
    assert results["vague/exact_claim"] == 0
    assert "vague, expanded/exact_claim" not in Claims(**given, sets=("vague",)).run({"ema": None})
    with pytest.raises(UserError, match="'vague' is left out"):
        Claims(**given, sets=("test",), expander="there")


def test_speed_leaves_out_the_drawing_that_compiles(monkeypatch):
    now, seeds = [0.0], []

    class Slow:
        config = SimpleNamespace(steps=7)

        def draw(self, texts, *, params, seed=None):
            seeds.append(seed)
            now[0] += {None: 100.0, 0: 2.0, 1: 3.0, 2: 50.0}[seed]
            return Drawing(np.zeros((len(texts), 1, 1, 3), np.uint8), carry=None, evaluations=14)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    found = Speed(artist=Slow(), data=TINY, count=6, rounds=3).run({"ema": None})
    assert found.pop("drawing/pictures_per_second") == 6 / 3.0
    assert found == {"drawing/steps": 7, "drawing/evaluations": 14}
    assert seeds == [None, 0, 1, 2]


def test_mistakes_are_named():
    with pytest.raises(UserError, match="did you mean 'test'"):
        Claims(artist=None, data=TINY, seed=0, sets=("tset",))
    folder = SimpleNamespace(source={"name": "folder"})
    with pytest.raises(UserError, match="reads worlds only"):
        Claims(artist=None, data=folder, seed=0)


@pytest.fixture
def pictures(tmp_path):
    """A folder of three pictures for testing, of which one has no text, and none for training."""
    rows = [{"file_name": f"{name}.png", "text": name.strip()} for name in ("a", " ", "b")]
    for row in rows:
        Image.new("RGB", (32, 32)).save(tmp_path / row["file_name"])
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"name": "folder", "root": str(tmp_path), "val": 0.0, "test": 1.0}


def test_what_cannot_be_read_is_left_out_if_it_may_be(pictures):
    data = DataConfig(source=pictures, on_error="skip")
    assert Grid(artist=None, data=data, seed=0).texts == ["a", "b"]
    objective = Autoencode(image_size=32)
    assert Reconstruction(objective=objective, data=data).texts == ["a", "b"]
    data = DataConfig(source=pictures)
    for evaluator in (
        lambda: Grid(artist=None, data=data, seed=0),
        lambda: Reconstruction(objective=objective, data=data),
    ):
        with pytest.raises(UserError, match=r" \.png: its text is empty.*on_error=skip"):
            evaluator()


def test_a_grid_of_conversations_is_one_line():
    talks = DataConfig(source={"name": "dialogue", "preset": "tiny"})
    with pytest.raises(UserError, match="name='dialogue': has conversations"):
        Grid(artist=None, data=talks, seed=0)


def test_a_grid_of_a_split_without_pictures_is_one_line(pictures):
    data = DataConfig(source=pictures)
    with pytest.raises(UserError, match="no examples in the train split"):
        Grid(artist=None, data=data, seed=0, split="train")


def test_nearest_is_the_nearest():
    rng = np.random.default_rng(0)
    among = rng.integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
    queries = among[[3, 5]].copy()
    queries[1] = np.clip(queries[1].astype(int) + 10, 0, 255)
    indices, distances = nearest(queries, among)
    np.testing.assert_array_equal(indices, [3, 5])
    assert distances[0] == 0
    assert 5 < distances[1] <= 10
    direct = np.sqrt(np.square(queries[1].astype(float) - among[5]).mean())
    np.testing.assert_allclose(distances[1], direct, rtol=1e-6)


def test_nearest_of_many_pictures_takes_little_memory():
    among = np.random.default_rng(0).integers(0, 256, (3000, 16, 16, 3), dtype=np.uint8)
    tracemalloc.start()
    indices, distances = nearest(among[[2999, 3, 256]], among)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(indices, [2999, 3, 256])
    np.testing.assert_array_equal(distances, 0)
    assert most < 4 * among.nbytes  # in float64 they alone are 8 times theirs


def test_the_loss_takes_batches_that_the_mesh_divides():
    tokenizer = SimpleNamespace(encode=lambda text: np.zeros(4, np.int32), length=4)
    mesh = SimpleNamespace(shape={"slices": 1, "data": 4, "fsdp": 2, "tensor": 1})
    given = dict(objective=None, tokenizer=tokenizer, mesh=mesh, data=TINY, seed=0)
    loss = ValidationLoss(**given, count=21)
    assert loss.batches == 1
    assert len(next(loss.open())["image"]) == 16
    with pytest.raises(UserError, match=r"finds 7 examples of 'val' .* cuts a batch into 8 parts"):
        ValidationLoss(**given, count=7)


@pytest.mark.parametrize(
    ("name", "option", "value", "least"),
    [
        ("speed", "rounds", 0, 1),
        ("loss", "batch_size", -8, 1),
        ("distribution", "subset", 0, 1),
        ("dialogues", "turns", 0, 1),  # which may be None as well
        ("probe", "shots", (5, 0), 1),
        ("corrections", "corrections", -1, 0),
    ],
)
def test_too_few_of_anything_is_one_line(name, option, value, least):
    evaluator = resolve(EVALUATORS, name, "name")
    with pytest.raises(UserError) as error:
        check_counts(evaluator, {"name": name, "every": 0, option: value}, "evaluators.e")
    assert str(error.value) == f"evaluators.e.{option}={value}: must be at least {least}"
    check_counts(evaluator, {option: (5, least) if option == "shots" else least}, "evaluators.e")


def test_an_amount_may_be_0():
    """And what is of another type, or no option, is the registry's to name."""
    evaluator = resolve(EVALUATORS, "expansions", "name")
    options = {"temperature": 0, "samples": "many", "split": 0, "seed": 0, "colour": 0}
    check_counts(evaluator, options, "evaluators.e")
