import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from vismem.parallel.mesh import make_mesh
from vismem.training.optimizer import names
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

BATCH = {"image": np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)}
SHAPES = {"image": jax.ShapeDtypeStruct((8, 8, 8, 3), jnp.uint8)}


def begin(objective=None, *settings, ema=0.5):
    """A toy's initial state, its optimizer and its compiled step."""
    config = toy.run_config("optimizer.warmup=0", *settings)
    objective, mesh = objective or toy.Toy(image_size=8), make_mesh(config.mesh)
    layout = Layout(objective, config.optimizer, SHAPES, mesh, 10)
    step = make_train_step(objective, layout.optimizer, ema, config.optimizer.accumulate)
    return layout.init(0), layout, compiled(step, layout.shardings, mesh)


def test_accumulation_equals_the_big_batch():
    results = []
    for accumulate in (1, 2, 4):
        state, _, step = begin(None, f"optimizer.accumulate={accumulate}", "optimizer.name=sgd")
        results.append(step(state, BATCH))
    for state, metrics in results[1:]:
        np.testing.assert_allclose(metrics["loss"], results[0][1]["loss"], rtol=1e-5)
        np.testing.assert_allclose(metrics["grad_norm"], results[0][1]["grad_norm"], rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
            state["params"],
            results[0][0]["params"],
        )


def test_frozen_parameters_stay_and_count_nothing():
    state, layout, step = begin(None, 'optimizer.freeze=(("up/", True),)')
    before = jax.device_get(names(state["params"]))
    shapes = {x.shape for x in jax.tree.leaves(state["opt"])}
    assert before["painter/up/kernel"].shape not in shapes
    assert before["painter/down/kernel"].shape in shapes

    gradient = jax.grad(lambda p: layout.objective.loss("painter", p, BATCH, jax.random.key(0))[0])
    down = names(gradient(jax.tree.map(jnp.array, jax.device_get(state["params"]))))
    norm = np.sqrt(sum(np.square(g).sum() for n, g in down.items() if "/down/" in n))
    state, metrics = step(state, BATCH)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-4)
    after = jax.device_get(names(state["params"]))
    moved = {n for n in before if not np.array_equal(before[n], after[n])}
    assert moved == {"painter/down/kernel", "painter/down/bias"}


def test_the_average_ramps_up():
    state, _, step = begin(ema=0.5)
    expected = jax.device_get(state["ema"])
    for t in range(12):
        state, _ = step(state, BATCH)
        decay = min(0.5, (1 + t) / (10 + t))
        params = jax.device_get(state["params"])
        expected = jax.tree.map(lambda e, p, d=decay: d * e + (1 - d) * p, expected, params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        jax.device_get(state["ema"]),
        expected,
    )
    assert int(state["step"]) == 12


def test_a_player_moves_its_own_parameters_only():
    objective = toy.Toy(image_size=8, rivals=True)
    state, _, step = begin(objective, 'optimizer.lr_factors=(("painter/", 0.0),)')
    before = jax.device_get(state["params"])
    state, metrics = step(state, BATCH)
    after = jax.device_get(state["params"])
    same = jax.tree.map(np.array_equal, before, after)
    assert all(jax.tree.leaves(same["painter"]))
    assert not any(np.ravel(same["critic"]["down"]["kernel"]))
    np.testing.assert_allclose(
        metrics["loss"], metrics["painter/loss"] + metrics["critic/loss"], rtol=1e-6
    )
    assert {"painter/grad_norm", "critic/grad_norm", "lr"} <= metrics.keys()


def test_every_step_has_its_own_randomness():
    objective = toy.Toy(image_size=8, noise=1.0)
    losses = []
    for _ in range(2):
        state, _, step = begin(objective, "optimizer.lr=0.0")
        run = []
        for _ in range(3):
            state, metrics = step(state, BATCH)
            run.append(float(metrics["loss"]))
        losses.append(run)
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


def test_metrics_are_float32_scalars():
    state, _, step = begin()
    for value in step(state, BATCH)[1].values():
        assert (value.shape, value.dtype) == ((), jnp.float32)


def test_optimizer_state_is_sharded_as_its_parameter():
    layout = begin()[1]
    of_parameter = names(layout.shardings["params"])
    found = 0
    for path, sharding in jax.tree_util.tree_leaves_with_path(layout.shardings["opt"]):
        for entry in path:
            if getattr(entry, "key", None) in of_parameter:
                assert sharding == of_parameter[entry.key]
                found += 1
    assert found == 2 * len(of_parameter)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_state_is_consumed(decay):
    state, _, step = begin(ema=decay)
    step(state, BATCH)
    assert state["params"]["painter"]["up"]["kernel"].is_deleted()
