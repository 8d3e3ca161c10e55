"""Low-rank adapters, and what is frozen in half precision."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from vismem.errors import UserError
from vismem.parallel.mesh import make_mesh
from vismem.training import lora
from vismem.training.lora import LoraConfig
from vismem.training.names import names
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

BATCH = {"image": np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)}
SHAPES = {"image": jax.ShapeDtypeStruct((8, 8, 8, 3), jnp.uint8)}
UP, DOWN = "painter/up/kernel", "painter/down/kernel"
ADAPTED = ("optimizer.lora.kernels=up/", "optimizer.lora.rank=2", "optimizer.lora.alpha=6")


def begin(*settings, given=None):
    config = toy.run_config("optimizer.warmup=0", *settings)
    objective, mesh = toy.Toy(image_size=8), make_mesh(config.mesh)
    layout = Layout(objective, config.optimizer, SHAPES, mesh, 10)
    step = compiled(make_train_step(objective, layout.optimizer, 0.5), layout.shardings, mesh)
    return layout, layout.init(0, given), step


def fetched(tree):
    return jax.tree.map(np.array, names(tree))


@pytest.fixture
def optimised():
    """Two programs draw the same first parameters to the last bit as they are compiled for use."""
    as_in_tests = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", as_in_tests)


def test_fresh_adapters_change_nothing(optimised):
    _, plain, plain_step = begin()
    layout, adapted, adapted_step = begin(*ADAPTED)
    assert set(names(adapted["params"])) - set(names(plain["params"])) == {UP + lora.A, UP + lora.B}
    before = fetched(plain["params"])
    for kind in ("params", "ema"):
        for name, value in fetched(plain[kind]).items():
            np.testing.assert_array_equal(names(adapted[kind])[name], value)
    assert set(names(layout.optimizer.merged(adapted["params"]))) == set(before)
    losses = [
        float(s(x, BATCH)[1]["loss"]) for s, x in ((plain_step, plain), (adapted_step, adapted))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("rest", [False, True])
def test_adapters_move_and_their_kernels_stay(rest):
    """And so does the rest, unless it is frozen; adapters are not, whatever the rules say."""
    layout, state, step = begin(*ADAPTED, *(['optimizer.freeze=((".", True),)'] if rest else []))
    before = fetched(state["params"])
    sizes = {x.shape for x in jax.tree.leaves(state["opt"])}
    assert before[UP].shape not in sizes
    for _ in range(3):
        state, _ = step(state, BATCH)
    after = fetched(state["params"])
    stay = {n for n in before if np.array_equal(before[n], after[n])}
    assert stay == (set(before) - {UP + lora.A, UP + lora.B} if rest else {UP})
    product = after[UP] + 3.0 * after[UP + lora.A] @ after[UP + lora.B]
    merged = fetched(layout.optimizer.merged(state["params"]))
    np.testing.assert_allclose(merged[UP], product, atol=1e-6)
    assert np.abs(merged[UP] - before[UP]).max() > 1e-3
    # The average, which draws and is exported, has followed the merged kernel.
    average = fetched(state["ema"])
    assert set(average) == set(merged)
    assert 0 < np.abs(average[UP] - before[UP]).max() < np.abs(merged[UP] - before[UP]).max()


def test_any_kernel_may_have_adapters_and_they_are_sharded_as_it_is():
    box = nn.with_logical_partitioning
    ones, key = nn.initializers.ones, jax.random.key(0)
    params = {
        "p": {
            "dense": {"kernel": box(ones, ("embed", "mlp"))(key, (4, 6)), "bias": jnp.ones(6)},
            "conv": {"kernel": jnp.ones((3, 3, 2, 5))},
        }
    }
    config = LoraConfig(kernels="p/", rank=2, alpha=2)
    boxed = names(lora.add(config, params, key))
    assert boxed["p/dense/kernel" + lora.A].names == ("embed", None)
    assert boxed["p/dense/kernel" + lora.B].names == (None, "mlp")
    assert boxed["p/conv/kernel" + lora.A].value.shape == (18, 2)
    assert "p/dense/bias" + lora.A not in boxed
    tuned = jax.tree.map(lambda x: x + 1, nn.unbox(lora.add(config, params, key)))
    merged = lora.merge(config, tuned)["p"]
    a, b = (tuned["p"]["conv"]["kernel" + part] for part in (lora.A, lora.B))
    np.testing.assert_allclose(merged["conv"]["kernel"], 2 + (a @ b).reshape(3, 3, 2, 5), rtol=1e-6)
    assert set(merged["dense"]) == {"kernel", "bias"}


@pytest.mark.parametrize("adapters", [(), ADAPTED])
def test_what_is_frozen_may_be_in_half_precision(adapters):
    frozen = 'optimizer.freeze=(("up/", True),)'
    layout, state, step = begin(frozen, "optimizer.frozen_dtype=bfloat16", *adapters)
    _, reference, reference_step = begin(frozen, *adapters)
    before = fetched(state["params"])
    assert {n for n, p in before.items() if p.dtype == jnp.bfloat16} == {UP, "painter/up/bias"}
    for _ in range(3):
        state, metrics = step(state, BATCH)
        reference, expected = reference_step(reference, BATCH)
    assert float(metrics["loss"]) == pytest.approx(float(expected["loss"]), rel=0.02)
    np.testing.assert_array_equal(fetched(state["params"])[UP], before[UP])
    # An averaged kernel that adapters move needs all its digits.
    average = fetched(state["ema"])
    assert average[UP].dtype == (jnp.float32 if adapters else jnp.bfloat16)
    np.testing.assert_array_equal(average["painter/up/bias"], before["painter/up/bias"])
    kinds = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert kinds == jax.tree.map(lambda x: (x.shape, x.dtype), layout.shapes)


def test_given_parameters_are_not_drawn():
    kernel = jnp.full((192, 16), 0.25)
    _, state, _ = begin('optimizer.freeze=(("up/", True),)', given={UP: kernel})
    _, drawn, _ = begin()
    assert float(names(state["params"])[UP].min()) == 0.25
    assert float(names(state["ema"])[UP].max()) == 0.25
    np.testing.assert_array_equal(names(state["params"])[DOWN], names(drawn["params"])[DOWN])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("kernels=upp/", "optimizer.lora.kernels: 'upp/' matches no parameter"),
        ("kernels=bias", "optimizer.lora.kernels: 'bias' matches no parameter"),
        ("kernels='('", "not a regular expression"),
        ("rank=0", "optimizer.lora.rank=0"),
        ("rnk=4", r"optimizer\.lora\.rnk=4: unknown key; did you mean 'optimizer\.lora\.rank'"),
    ],
)
def test_mistakes_are_named(setting, said):
    with pytest.raises(UserError, match=said):
        begin(f"optimizer.lora.{setting}")
