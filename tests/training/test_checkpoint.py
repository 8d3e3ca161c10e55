import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.training.checkpoint import CheckpointConfig, Checkpoints


def state(value):
    return {"params": {"w": jnp.full((4, 4), value)}, "step": jnp.int32(value)}


SHAPES = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state(0.0)
)


def save(checkpoints, step, best=None):
    checkpoints.save(step, state(float(step)), {"next": step}, {"step": step}, best)


def test_what_is_saved_comes_back(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.restore(SHAPES) is None
        save(checkpoints, 3)
        save(checkpoints, 7)
        checkpoints.wait()
        found, data, about = checkpoints.restore(SHAPES)
    assert data == {"next": 7}
    assert about == {"step": 7}
    np.testing.assert_array_equal(found["params"]["w"], 7.0)


def test_an_earlier_one_comes_back_by_its_step(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        save(checkpoints, 3)
        save(checkpoints, 7)
        checkpoints.wait()
        found, data, _ = checkpoints.restore(SHAPES, step=3)
        with pytest.raises(UserError, match=r"no checkpoint of step 5; it holds 3, 7"):
            checkpoints.restore(SHAPES, step=5)
    assert data == {"next": 3}
    np.testing.assert_array_equal(found["params"]["w"], 3.0)


@pytest.mark.parametrize(("mode", "kept"), [("min", [3, 4, 5]), ("max", [2, 4, 5])])
def test_the_latest_and_the_best_are_kept(tmp_path, mode, kept):
    values = {1: 0.9, 2: 1.0, 3: 0.1, 4: 0.5}
    with Checkpoints(tmp_path, CheckpointConfig(keep=2, best_mode=mode)) as checkpoints:
        for step in range(1, 6):
            save(checkpoints, step, values.get(step))
        checkpoints.wait()
        assert checkpoints.steps() == kept
    # Also by a process that comes later.
    with Checkpoints(tmp_path, CheckpointConfig(keep=1, best_mode=mode)) as checkpoints:
        save(checkpoints, 6)
        checkpoints.wait()
        assert checkpoints.steps() == [kept[0], 6]


def test_saving_copies_what_the_next_step_overwrites(tmp_path):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    big = {"w": jnp.arange(1_000_000.0)}
    shapes = {"w": jax.ShapeDtypeStruct(big["w"].shape, jnp.float32, sharding=big["w"].sharding)}
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, big, {}, {})
        for _ in range(20):
            big = step(big)
        checkpoints.wait()
        found, _, _ = checkpoints.restore(shapes)
    np.testing.assert_array_equal(found["w"], np.arange(1_000_000.0))


def test_read_only_leaves_everything_as_it_is(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        save(checkpoints, 1, best=0.5)
        save(checkpoints, 2)
    unfinished = tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp"
    unfinished.mkdir()
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "state")
    metrics = tmp_path / "checkpoints" / "1" / "metrics" / "metrics"
    metrics.write_text('{"best"')
    with Checkpoints(tmp_path, CheckpointConfig(), read_only=True) as checkpoints:
        assert checkpoints.restore(SHAPES)[2] == {"step": 1}
    assert unfinished.is_dir()
    assert (tmp_path / "checkpoints" / "2").is_dir()
    assert metrics.exists()


@pytest.mark.parametrize("text", ['{"best"', "", "[]", "{}", '{"best": "x"}', "\x00"])
def test_damaged_metrics_are_passed_over(tmp_path, caplog, text):
    folder = tmp_path / "checkpoints"
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        save(checkpoints, 1, best=0.5)
        save(checkpoints, 2, best=0.7)
    (folder / "2" / "metrics" / "metrics").write_text(text)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.restore(SHAPES)[2] == {"step": 1}
    assert f"{folder}/2: damaged or half-written, passed over" in caplog.text
    assert (folder / "damaged-2").is_dir()
    (folder / "1" / "metrics" / "metrics").write_text(text)
    with pytest.raises(UserError, match="none of its checkpoints can be read"):
        Checkpoints(tmp_path, CheckpointConfig())
    assert (folder / "1").is_dir()


def test_a_step_is_damaged_again_and_again(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        save(checkpoints, 1)
    for _ in range(3):
        with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
            save(checkpoints, 2)
        shutil.rmtree(tmp_path / "checkpoints" / "2" / "state")
        with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
            assert checkpoints.restore(SHAPES)[2] == {"step": 1}
    left = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert left == {"1", "damaged-2", "damaged-2-2", "damaged-2-3"}


def test_a_folder_without_checkpoints(tmp_path):
    with (
        Checkpoints(tmp_path, CheckpointConfig(), read_only=True) as checkpoints,
        pytest.raises(UserError, match="checkpoints: holds no checkpoint that can be read"),
    ):
        checkpoints.about()


def test_a_full_disk_is_seen_before_saving(tmp_path, monkeypatch):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=63))
        with pytest.raises(UserError, match=r"disk is full.*newest that is whole is .*/1"):
            save(checkpoints, 2)
        assert checkpoints.restore(SHAPES)[2] == {"step": 1}
