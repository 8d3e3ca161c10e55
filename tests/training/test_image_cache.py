"""Features of a locked image tower from the disk are those that it would find again."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from vismem import config
from vismem.errors import UserError
from vismem.planning import plan
from vismem.training import feature_store, loop
from vismem.training.image_cache import ImageCache
from vismem.training.loop import train


def towers(cache="", freeze=(("vision_encoder/", True),)):
    settings = toy.get_config()
    settings.steps, settings.evaluators = 6, {}
    settings.objective = {"name": "contrastive", "width": 4}
    settings.vision = {"name": "cnn", "widths": (4, 6)}
    settings.text = {"name": "ngrams", "width": 4}
    settings.optimizer = {"lr": 0.1, "freeze": freeze}
    settings.data.cache_image = cache
    return config.run_config(settings)


def test_training_is_the_same_with_the_cache(tmp_path):
    lines = []
    for i, cache in enumerate(("", "cache", "cache")):
        made = towers(cache and str(tmp_path / cache))
        train(made, tmp_path / f"run-{i}")
        lines.append((tmp_path / f"run-{i}" / "metrics.jsonl").read_text())
    losses = [[json.loads(x)["loss"] for x in text.splitlines()] for text in lines]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[2] == losses[1]


def test_a_plan_has_the_features_in_place_of_the_pictures(tmp_path, monkeypatch):
    asked, made = [], towers(str(tmp_path / "cache"))
    monkeypatch.setattr(loop, "train_flops", lambda *arguments: asked.append(arguments[-1]) or 1)
    train(dataclasses.replace(made, steps=1), tmp_path / "run")
    assert asked == [plan.prepare(made, jax.devices()[:1]).batch]
    assert set(asked[0]) == {"image_features", "tokens"}
    with pytest.raises(UserError, match="the vision encoder learns"):
        plan.prepare(towers("cache", ()), jax.devices()[:1])


def test_a_picture_is_encoded_once(tmp_path):
    asked = []

    def encode(images):
        asked.append(len(images))
        return jnp.asarray(images, jnp.float32).mean((1, 2))

    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    batch = {"image": images, "tokens": np.ones((4, 2), np.int32)}
    wanted = np.asarray(encode(images))
    asked.clear()
    for cache in (ImageCache(tmp_path, "one", encode, 8), ImageCache(tmp_path, "one", encode, 8)):
        found = cache(batch)
        np.testing.assert_array_equal(found["image_features"], wanted)
        assert set(found) == {"image_features", "tokens"}
    assert asked.count(4) == 1  # those of one picture only ask for a shape
    # Nothing is beside it: hosts that share a file system share no memory.
    assert [file.name for file in tmp_path.iterdir()] == ["one.sqlite"]


def test_features_are_of_the_code_that_made_them(tmp_path):
    file = tmp_path / "models" / "vision" / "vit.py"
    file.parent.mkdir(parents=True)
    file.write_text("first")
    before = feature_store.sources(tmp_path)
    (tmp_path / "reports.py").write_text("makes no features")
    assert feature_store.sources(tmp_path) == before
    file.write_text("second")
    assert feature_store.sources(tmp_path) != before


def test_only_a_locked_tower_is_cached(tmp_path):
    with pytest.raises(UserError, match="the vision encoder learns"):
        train(towers(str(tmp_path / "cache"), ()), tmp_path / "run")
