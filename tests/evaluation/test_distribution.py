"""Drawings as a whole, and many drawings of one text, from artists whose worth is known."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from vismem import worlds
from vismem.data import DataConfig, source
from vismem.errors import UserError
from vismem.evaluation.base import shared
from vismem.evaluation.distribution import Distribution
from vismem.evaluation.diversity import POOL, Diversity, content, scenes
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.worlds.render import render
from vismem.worlds.scene import PRESETS, Scene, Thing, sample_scene

TINY = DataConfig(source={"name": "world", "preset": "tiny"})


class Given:
    """An artist whose drawings are known beforehand."""

    def __init__(self, images):
        self.images = np.stack(images)

    def draw(self, texts, *, params, seed, first=0):
        images = self.images[first : first + len(texts)]
        assert len(texts) == len(images)
        return SimpleNamespace(images=images)


def distribution(images, critic=None, **options):
    options = {"encoder": {"name": "cnn", "widths": (8, 16)}, "count": len(images), **options}
    mesh = make_mesh(MeshConfig())
    given = {"artist": Given(images), "data": TINY, "seed": 0, "mesh": mesh, "critic": critic}
    return Distribution(**given, **options)


def test_true_pictures_are_like_pictures_and_others_are_not():
    records = source(TINY, "test")
    true = [records[i]["image"] for i in range(60)]
    same = distribution(true).run({"ema": None})
    assert same["frechet, random cnn"] == pytest.approx(0, abs=1e-6)
    assert same["coverage, random cnn"] == 1
    noise = list(np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8))
    other = distribution(noise).run({"ema": None})
    assert other["frechet, random cnn"] > 0.1
    assert other["precision, random cnn"] == other["coverage, random cnn"] == 0


def test_in_batches_it_is_the_same_distance(monkeypatch):
    """And what needs features is of the first few pictures only."""
    pictures = [source(TINY, "train")[i]["image"] for i in range(40)]
    whole, few = distribution(pictures), distribution(pictures[:20])
    monkeypatch.setattr("vismem.evaluation.distribution.BATCH", 16)
    batched = distribution(pictures, subset=20)
    assert batched.texts == whole.texts
    assert batched.real["features"].shape[0] == 20
    whole, few, batched = (d.run({"ema": None}) for d in (whole, few, batched))
    frechet = batched.pop("frechet, random cnn")
    assert frechet == pytest.approx(whole["frechet, random cnn"], rel=1e-4)
    assert frechet != pytest.approx(few.pop("frechet, random cnn"), rel=1e-2)
    assert batched == pytest.approx(few, rel=1e-4)


def test_hosts_share_the_drawings(monkeypatch):
    """Three have a batch each, of different sizes, and one has none."""
    monkeypatch.setattr("vismem.evaluation.distribution.BATCH", 16)
    pictures = [source(TINY, "train")[i]["image"] for i in range(40)]
    evaluator, state = distribution(pictures, subset=20), {"ema": None}
    shares = [evaluator.share(state, part, 4) for part in range(4)]
    assert [int(share["count"]) for share in shares] == [16, 16, 8, 0]
    assert [len(share["features"]) for share in shares] == [16, 4, 0, 0]
    assert evaluator.join(shares) == pytest.approx(evaluator.run(state), rel=1e-6)


def test_a_host_that_must_stop_stops_the_evaluation(monkeypatch):
    evaluator = distribution([source(TINY, "test")[i]["image"] for i in range(8)], nearest=2)
    state, gathered = {"ema": None}, []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr("vismem.parallel.hosts.gather", lambda share: [share, *gathered])
    gathered[:] = [evaluator.share(state, 1, 2)]
    assert shared(evaluator, state, lambda f, *x: f(*x))() == evaluator.run(state)
    gathered[:] = [None]
    assert shared(evaluator, state, lambda f, *x: f(*x))() is None
    gathered[:] = []
    assert shared(evaluator, state, lambda *_: None)() is None


def test_more_neighbours_than_pictures_is_a_mistake():
    with pytest.raises(UserError, match="nearest=9 of 8 pictures"):
        distribution([None] * 8, nearest=9)


def test_diversity_counts_right_drawings_that_differ():
    scenes = {}  # of one thing, by content
    rng = np.random.default_rng(0)
    for _ in range(20):
        scene = sample_scene(rng, PRESETS["tiny"], 1)
        scenes[content(scene, ("shape", "color", "size"))] = scene
    claim = worlds.world("tiny").parse("a circle", "en")
    circles = [s for s in scenes.values() if claim.holds(s)]
    wrong = next(s for s in scenes.values() if not claim.holds(s))
    drawn = [circles[0], circles[1], circles[1], wrong]
    diversity = Diversity(artist=None, data=TINY, seed=0, captions=1, drawings=4)
    diversity.examples = [SimpleNamespace(text="a circle", claim=claim)]
    diversity.artist = Given([render(scene, 32) for scene in drawn])
    assert diversity.run({"ema": None}) == {"diversity/exact_claim": 0.75, "diversity/distinct": 2}


def test_what_the_oracle_cannot_tell_makes_no_scene_of_its_own(monkeypatch):
    """Nor does a fill that no thing of the world has."""
    thing = Thing("circle", "blue", "large", "solid", 0.5, 0.5)
    unlike = ({}, {"fill": "striped"}, {"fill": None}, {"shape": None}, {"size": None}, {"x": 0.9})
    read = iter([Scene((replace(thing, **change),), "white") for change in unlike])
    monkeypatch.setattr("vismem.evaluation.diversity.oracle.read", lambda image: next(read))
    diversity = Diversity(artist=None, data=TINY, seed=0, captions=1, drawings=len(unlike))
    claim = worlds.world("tiny").parse("something blue", "en")
    diversity.examples = [SimpleNamespace(text="something blue", claim=claim)]
    found = diversity.measure(np.zeros((len(unlike), 32, 32, 3), np.uint8))
    assert found == {"diversity/exact_claim": 1, "diversity/distinct": 2}


def test_drawings_that_repeat_are_near_each_other_and_cover_little():
    options = {"captions": 8, "drawings": 8, "encoder": {"name": "cnn", "widths": (8, 16)}}
    diversity = Diversity(artist=None, data=TINY, seed=0, **options)
    pool = list(scenes(PRESETS["tiny"], POOL))[::-1]  # not those that are compared with
    found = [[s for s in pool if e.claim.holds(s)] for e in diversity.examples]
    rich = [i for i, some in enumerate(found) if len(some) > 40]
    diversity.examples = [diversity.examples[i] for i in rich]
    diversity.real = [diversity.real[i] for i in rich]
    assert len(rich) > 4

    def measure(drawn):
        return diversity.measure(np.stack([render(s, 32) for some in drawn for s in some]))

    varied = measure([found[i][:8] for i in rich])
    same = measure([found[i][:1] * 8 for i in rich])
    assert varied["diversity/exact_claim"] == same["diversity/exact_claim"] == 1
    assert same["diversity/distinct"] == 1
    assert same["diversity/distance, random cnn"] == pytest.approx(0, abs=1e-3)
    assert varied["diversity/distance, random cnn"] > 0.05
    for name in ("recall", "coverage"):
        name = f"diversity/{name}, random cnn"
        assert varied[name] > same[name] + 0.3


def test_diversity_reads_worlds_only():
    folder = SimpleNamespace(source={"name": "folder"})
    with pytest.raises(UserError, match="reads worlds only"):
        Diversity(artist=None, data=folder, seed=0)
