"""Evaluators of two towers, against towers whose answers are known."""

from types import SimpleNamespace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vismem import worlds
from vismem.data import SOURCES, DataConfig
from vismem.errors import UserError
from vismem.evaluation.critic import Critic
from vismem.evaluation.generative import Generative
from vismem.evaluation.near_misses import NearMisses, changed
from vismem.evaluation.probe import Probe
from vismem.evaluation.retrieval import Retrieval, ranks, unambiguous
from vismem.evaluation.zeroshot import ZeroShot, scores

TINY = DataConfig(source={"name": "world", "preset": "tiny"})
TOWERS = dict(objective=SimpleNamespace(embed_images=None), tokenizer=None)


class Oracle:
    """Stands for a critic: pictures and texts at the places that `meaning` gives them."""

    def __init__(self, meaning):
        self.meaning = meaning

    def images(self, pictures):
        return self.texts([picture.tobytes() for picture in pictures])

    def texts(self, keys):
        return np.stack([self.meaning[key] for key in keys]).astype(np.float32)

    features = images


def test_ranks_are_those_of_the_sorted_scores():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(50, 8)), rng.normal(size=(200, 8))
    names = rng.integers(0, 150, (200, 1))  # several answers have one name
    wanted = np.stack([rng.choice(np.unique(names), 3, replace=False) for _ in queries])
    wanted[::2, 1:] = -1  # some queries are right for one name only
    order = np.argsort(-(queries @ gallery.T), axis=1)
    first = [1 + min(np.flatnonzero(np.isin(names[o, 0], w))) for o, w in zip(order, wanted)]
    np.testing.assert_array_equal(ranks(queries, gallery, wanted, names), first)


def test_wrong_answers_win_ties():
    same = np.ones((4, 2))
    np.testing.assert_array_equal(
        ranks(same, same, np.arange(4)[:, None], np.arange(4)[:, None]), 4
    )


def test_embeddings_that_are_not_finite_find_nothing():
    names, lost = np.arange(4)[:, None], np.full((4, 2), np.nan)
    np.testing.assert_array_equal(ranks(lost, np.ones((4, 2)), names, names), 4)


def test_ranks_are_of_products_in_float32_on_every_device():
    names = np.arange(4)[:, None]
    program = str(jax.make_jaxpr(ranks)(np.ones((4, 2)), np.ones((4, 2)), names, names))
    assert program.count("dot_general[") == program.count("precision=(Precision.HIGHEST") == 1


class Captioned:
    """Four pictures with two captions each; the first two share one. Each comes twice."""

    def __init__(self, *, split):
        rng = np.random.default_rng(0)
        self.pictures = rng.integers(0, 256, (4, 2, 2, 3), np.uint8)
        self.captions = [("a", "shared"), ("b", "shared"), ("c", "d"), ("e", "f")]

    def __len__(self):
        return 8

    def __getitem__(self, index):
        index //= 2
        captions = self.captions[index]
        return {"image": self.pictures[index], "text": captions[0], "captions": captions}


def test_retrieval_with_several_captions_a_picture(monkeypatch):
    monkeypatch.setitem(SOURCES, "captioned", f"{__name__}:Captioned")
    evaluator = Retrieval(**TOWERS, data=DataConfig(source={"name": "captioned"}, size=2))
    assert len(evaluator.images) == 4
    source, axes = Captioned(split="test"), np.eye(4)
    meaning = {p.tobytes(): axes[i] for i, p in enumerate(source.pictures)}
    meaning |= {text: axes[i] for i, found in enumerate(source.captions) for text in found}
    meaning["shared"] = axes[0] + 0.9 * axes[1]
    meaning["f"] = axes[2]  # wrong: it is the fourth picture's
    evaluator.critic = Oracle(meaning)
    results = evaluator.run({"ema": None})
    assert results["test/image_to_text/recall@1"] == 3 / 4  # of the third, "f" ties with its own
    assert results["test/text_to_image/recall@1"] == 6 / 7
    assert results["test/text_to_image/recall@5"] == 1
    assert results["test/text_to_image/median_rank"] == 1


def test_unambiguous_captions_hold_of_their_own_picture_only():
    world = worlds.world("tiny")
    chosen = unambiguous(TINY, "test", 150)
    assert len({example["text"] for example in chosen}) == 150
    by_text = {world.example("test", i, style="fixed").text: i for i in range(400)}
    scenes = [world.example("test", by_text[e["text"]], style="fixed").scene for e in chosen]
    claims = [world.parse(example["text"]) for example in chosen]
    assert sum(claim.holds(scene) for claim in claims for scene in scenes) == 150


def test_every_class_of_a_folder_is_there_however_few_pictures_are_taken(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abcdefghij":
        (tmp_path / name).mkdir()
        for i in range(40):
            picture = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
            picture.save(tmp_path / name / f"{i}.png")
    source = {"name": "folder", "root": str(tmp_path), "test": 0.3, "val": 0.0}
    data = DataConfig(source=source, size=4)
    zeroshot = ZeroShot(**TOWERS, data=data, count=50)
    assert zeroshot.task.names == tuple("abcdefghij")
    assert set(zeroshot.task.labels) == set(range(10))
    assert len(zeroshot.task.images) == 50
    few = ZeroShot(**TOWERS, data=data, count=3)
    assert few.task.names == tuple("abcdefghij")
    assert len(few.task.images) == 3
    found = Retrieval(**TOWERS, data=data, count=50)
    assert set.union(*found.captions) == set("abcdefghij")
    probe = Probe(**TOWERS, data=data, seed=0, count=50, train=100)
    assert set(probe.given) == set(probe.wanted) == set("abcdefghij")
    with pytest.raises(UserError, match=r"no picture of '[a-j]' among 5 of training"):
        Probe(**TOWERS, data=data, seed=0, count=50, train=5)


def test_scores():
    labels = np.array([0, 0, 1, 2])
    logits = -np.array([[0, 1, 2], [1, 0, 2], [1, 0, 2], [2, 1, 0]])  # the second is wrong
    found = scores(labels, logits)
    assert found["top1"] == 0.75
    assert found["top5"] == 1
    assert found["majority"] == 0.5
    assert found["recall"] == {0: 0.5, 1: 1, 2: 1}
    np.testing.assert_allclose(found["macro_f1"], np.mean([2 / 3, 2 / 3, 1]))


def test_zero_shot_and_probe_find_what_the_towers_tell_apart():
    zeroshot = ZeroShot(**TOWERS, data=TINY, count=40)
    probe = Probe(**TOWERS, data=TINY, seed=0, count=40, train=200, shots=(2,))
    axes = np.eye(len(zeroshot.task.names))
    meaning = {}
    for task in (zeroshot.task, probe.train, probe.test):
        for image, label in zip(task.images, task.labels):
            meaning[image.tobytes()] = axes[label]
    for axis, prompts in zip(axes, zeroshot.task.prompts):
        meaning |= dict.fromkeys(prompts, axis)
    zeroshot.critic = probe.critic = Oracle(meaning)
    assert zeroshot.run({"ema": None})["test/zeroshot/top1"] == 1
    found = probe.run({"ema": None})
    assert found["test/probe/linear"] == 1
    assert found["test/probe/2_shot"] > 0.9
    for prompts, name in zip(zeroshot.task.prompts, zeroshot.task.names):
        assert len(set(prompts)) == len(prompts) == 18
        color, shape = name.split()
        things = {worlds.world("tiny").parse(prompt).things[0][:2] for prompt in prompts}
        assert things == {(shape, color)}


class Expecting:
    """Stands for a generator: its loss is low where a picture is as bright as its text says."""

    players, advance = ("generator",), None

    def loss(self, player, params, batch, key, train):
        noise = jax.random.normal(key)  # the same for all classes
        return jnp.square(batch["image"].mean() - batch["tokens"].mean()) + 1e4 * noise, {}


def test_the_generator_chooses_the_caption_of_the_lowest_loss():
    brightness = {}
    tokenizer = SimpleNamespace(encode=lambda text: np.array([brightness.get(text, 1e4)]))
    options = dict(objective=Expecting(), tokenizer=tokenizer, data=TINY, seed=0, count=9, draws=2)
    found = Generative(**options)
    texts = [texts[label] for texts, label in zip(found.task.captions, found.task.labels)]
    brightness |= dict(zip(texts, (image.mean() for image in found.images)))
    found = Generative(**options).run({"ema": None})
    assert found["test/generative/top1"] == 1
    brightness.clear()
    assert Generative(**options).run({"ema": None})["test/generative/top1"] < 0.5
    adversaries = SimpleNamespace(players=("critic", "generator"), advance=None)
    with pytest.raises(UserError, match=r"generative: .* leave it out"):
        Generative(**options | {"objective": adversaries})


def test_what_a_near_miss_changed():
    world, kinds = worlds.world("tiny"), set()
    for i in range(60):
        example = world.example("test", i, style="fixed")
        miss = example.near_miss()
        kind = changed(example.claim, miss.claim)
        kinds.add(kind)
        if kind in ("shape", "color", "size"):
            values = [{getattr(t, kind) for t in c.things} for c in (example.claim, miss.claim)]
            assert values[0] != values[1] or len(example.claim.things) > 1
    assert kinds == {"shape", "color", "size", "at", "related"}


def test_near_misses_are_compared_with_their_own_caption():
    evaluator = NearMisses(**TOWERS, data=TINY, count=10, each=2)
    here, there = np.eye(2)
    meaning = {image.tobytes(): here for image in evaluator.images}
    meaning |= dict.fromkeys(evaluator.wrong, there) | dict.fromkeys(evaluator.right, here)
    evaluator.critic = Oracle(meaning)
    assert evaluator.run({"ema": None})["test/near_miss"] == 1
    evaluator.critic = Oracle(dict.fromkeys(meaning, here))  # one that tells nothing apart
    assert evaluator.run({"ema": None})["test/near_miss"] == 0


def test_mistakes_are_named(monkeypatch):
    monkeypatch.setitem(SOURCES, "one", f"{__name__}:One")
    monkeypatch.setitem(SOURCES, "unlabelled", f"{__name__}:Unlabelled")
    one = DataConfig(source={"name": "one"}, on_error="skip")
    unlabelled = DataConfig(source={"name": "unlabelled"}, on_error="skip")
    for evaluator, data, options, said in (
        (ZeroShot, one, {"templates": ("a picture of {thing}",)}, "must stand for a class's name"),
        (ZeroShot, one, {"templates": ("a picture",)}, "must stand for a class's name"),
        (ZeroShot, one, {"templates": ("{.thing}",)}, "must stand for a class's name"),
        (ZeroShot, one, {"templates": ()}, "a class needs at least one"),
        (ZeroShot, unlabelled, {}, "label -1 of the test split is none of the source's 1 classes"),
        (Probe, one, {"seed": 0}, "one class alone, 'thing'"),
        (ZeroShot, DataConfig(source={"name": "questions"}), {"count": 1}, "no labels to classify"),
    ):
        with pytest.raises(UserError, match=said):
            evaluator(**TOWERS, data=data, **options)
    critic = Critic(SimpleNamespace(embed_images=None, embed_texts=None), None)
    with pytest.raises(UserError, match="nothing to score"):
        critic.score([], [])


class One:
    """Pictures of one class, of which the second cannot be read."""

    def __init__(self, *, split):
        pass

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 1:
            raise UserError("1.png: cannot be decoded")
        return {"image": np.full((4, 4, 3), index, np.uint8), "text": "thing", "label": 0}


class Unlabelled(One):
    """As prepared test splits are whose labels are kept secret."""

    classes: ClassVar = {0: "thing"}

    def __getitem__(self, index):
        return super().__getitem__(index) | {"label": -1}


def test_what_cannot_be_read_is_skipped_if_the_run_says_so(monkeypatch):
    monkeypatch.setitem(SOURCES, "one", f"{__name__}:One")
    given = TOWERS | {"data": DataConfig(source={"name": "one"}, on_error="skip")}
    assert len(Retrieval(**given).images) == len(ZeroShot(**given).task.images) == 2
    with pytest.raises(UserError, match=r"1\.png.*on_error=skip"):
        Retrieval(**TOWERS, data=DataConfig(source={"name": "one"}))


def test_what_has_no_towers_is_named():
    with pytest.raises(UserError, match="two towers"):
        Critic(SimpleNamespace(), None)
