"""The flow objective: its chain of canvases, and what passes from step to step."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig
from vismem.objectives.flow import PLAYER, Flow
from vismem.objectives.generative import over_chains
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.training.optimizer import OptimizerConfig
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

TEXT = {"name": "transformer", "width": 16, "layers": 1, "heads": 2}


def make_flow(
    memory: bool = True,
    strategy: bool = True,
    update: str = "gated",
    places: bool = False,
    **options,
) -> Flow:
    return Flow(
        vision={"name": "patches"},
        fusion={"name": "attention"},
        memory=MemoryConfig(enabled=memory, slots=3, update=update, places=places),
        strategy=StrategyConfig(enabled=strategy),
        vocab_size=11,
        image_size=8,
        **{"text": TEXT, "painter": PainterConfig(width=16, layers=1, heads=2, patch=4), **options},
    )


def make_batch(size: int = 4, seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (size, 8, 8, 3)), jnp.uint8),
        "tokens": jnp.asarray(rng.integers(0, 11, (size, 5)), jnp.int32),
    }


def make_params(flow: Flow, seed: int = 0, trained: bool = True):
    """Parameters; `trained` moves those that start at zero, as training would."""
    params = nn.unbox(jax.jit(flow.init)(jax.random.key(seed), make_batch()))
    if not trained:
        return params
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return tree.unflatten([x + 0.1 * rng.standard_normal(x.shape, np.float32) for x in leaves])


def last_error(flow: Flow, batch):
    """The canvases of a chain [R, B, H, W, C], and the slope of its last step's error as a function
    of them and of what each step keeps, bool [R, B]."""
    params, picture = make_params(flow), batch["image"] / 127.5 - 1

    @jax.jit
    def chain(key):
        times = flow.sample_times(key, len(picture))
        return times, flow.chain(picture, times, key)

    times, canvases = chain(jax.random.key(0))

    @jax.jit
    @jax.grad
    def slope(canvases, keep):
        first = flow.apply(params, len(picture), method="begin")
        context = flow.encode(params, batch["tokens"], first.estimate)
        return flow.estimates(params, picture, canvases, times, keep, first, context)[1][-1].sum()

    return canvases, slope


def test_estimates_keep_to_the_bounds_of_what_is_drawn():
    latents = {"name": "autoencoder_kl", "widths": (4,), "blocks": 1, "channels": 3, "groups": 2}
    estimate = jnp.array([-7.0, 0.5, 3.0])
    np.testing.assert_array_equal(make_flow().clip(estimate), [-1, 0.5, 1])
    unbounded = make_flow(autoencoder=latents | {"scaling_factor": 1.0})
    np.testing.assert_array_equal(unbounded.clip(estimate), estimate)


def test_canvases_of_a_chain_have_the_marginals_of_the_path():
    """X_t ~ N(t * picture, (1 - t)^2) at every step, not only at the cleanest."""
    flow = make_flow(unroll=3)
    picture = jnp.full((20_000, 2, 2, 3), 0.7)
    times = jnp.broadcast_to(jnp.array([0.2, 0.35, 0.6])[:, None], (3, len(picture)))
    canvases = flow.chain(picture, times, jax.random.key(0))
    for t, canvas in zip((0.2, 0.35, 0.6), canvases):
        assert abs(canvas.mean() - 0.7 * t) < 0.01
        assert abs(canvas.std() - (1 - t)) < 0.01


def test_the_noisier_canvas_says_nothing_the_cleaner_does_not():
    """What renoising adds is uncorrelated with the noise of the cleaner canvas."""
    flow = make_flow(unroll=2)
    picture = jnp.full((20_000, 2, 2, 3), 0.7)
    times = jnp.broadcast_to(jnp.array([0.3, 0.5])[:, None], (2, len(picture)))
    noisy, clean = flow.chain(picture, times, jax.random.key(0))
    added = noisy - 0.3 / 0.5 * clean
    noise = clean - 0.5 * picture
    assert abs(jnp.corrcoef(added.ravel(), noise.ravel())[0, 1]) < 0.02


def test_times_of_a_chain_rise_by_ratios_in_range():
    flow = make_flow(unroll=4, ratio=(0.5, 0.9))
    times = flow.sample_times(jax.random.key(0), 1_000)
    ratios = times[:-1] / times[1:]
    assert times.shape == (4, 1_000)
    assert ratios.min() >= 0.5
    assert ratios.max() <= 0.9 + 1e-6


@pytest.mark.parametrize("prediction", ["x", "v", "eps"])
def test_predictions_of_one_truth_give_one_estimate(prediction):
    """A network that outputs the truth in its own terms estimates the picture."""
    flow = make_flow(prediction=prediction)
    key = jax.random.key(0)
    picture, noise = jax.random.normal(key, (2, 3, 8, 8, 3))
    time = jnp.array([0.2, 0.5, 0.9])
    canvas = time[:, None, None, None] * picture + (1 - time[:, None, None, None]) * noise
    truth = {"x": picture, "v": picture - noise, "eps": noise}[prediction]
    np.testing.assert_allclose(flow.estimate(truth, canvas, time), picture, atol=1e-5)
    np.testing.assert_allclose(
        flow.velocity(canvas, picture, time), picture - noise, rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(flow.advance(canvas, picture, time, jnp.ones(3)), picture, atol=1e-5)


@pytest.mark.parametrize("update", ["gated", "gru", "residual"])
def test_gradient_flows_through_memory_over_all_steps(update):
    """The last step's error moves with the first canvas, through memory alone."""
    canvases, slope = last_error(make_flow(unroll=3, update=update), make_batch())
    everything = jnp.ones(canvases.shape[:2], bool)
    gradient = slope(canvases, everything)
    assert all(jnp.abs(g).max() > 1e-7 for g in gradient)

    started_anew = everything.at[2].set(False)
    gradient = slope(canvases, started_anew)
    assert jnp.abs(gradient[2]).max() > 1e-7
    assert jnp.abs(gradient[:2]).max() == 0


def test_without_memory_steps_are_apart():
    canvases, slope = last_error(make_flow(memory=False, unroll=2), make_batch())
    gradient = slope(canvases, jnp.ones(canvases.shape[:2], bool))
    assert jnp.abs(gradient[0]).max() == 0
    assert jnp.abs(gradient[1]).max() > 1e-7


@pytest.mark.parametrize("places", [False, True])
def test_a_fresh_model_with_memory_is_the_one_without(places):
    """All that leaves memory starts at zero: same losses, and the same parameters beside it."""
    with_memory, without = make_flow(places=places), make_flow(memory=False)
    batch, key = make_batch(), jax.random.key(3)
    full = make_params(with_memory, trained=False)
    bare = make_params(without, trained=False)
    # Painters start with outputs of zero; the comparison should be of more than zeros.
    output = jax.random.normal(key, bare[PLAYER]["paint"]["output"]["kernel"].shape)
    for params in (full, bare):
        params[PLAYER]["paint"]["output"]["kernel"] = output
    loss_full, loss_bare = (
        jax.jit(partial(flow.loss, PLAYER))(params, batch, key)[0]
        for flow, params in ((with_memory, full), (without, bare))
    )
    assert loss_bare > 0.1
    np.testing.assert_allclose(loss_full, loss_bare, rtol=1e-6)
    for name, value in jax.tree.leaves_with_path(bare):
        twin = full
        for part in name:
            twin = twin[part.key]
        np.testing.assert_array_equal(twin, value)


def test_remat_and_scans_change_no_gradient():
    def gradient(on):
        painter = PainterConfig(width=16, layers=2, heads=2, patch=4, scan=on)
        text = {"name": "transformer", "width": 16, "layers": 2, "heads": 2, "scan": on}
        flow = make_flow(unroll=2, remat=on, painter=painter, text=text)
        loss = lambda p: flow.loss(PLAYER, p, make_batch(), jax.random.key(0))[0]  # noqa: E731
        return jax.jit(jax.grad(loss))(make_params(flow))

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        gradient(False),
        gradient(True),
    )


@pytest.mark.slow
def test_a_train_step_in_bfloat16_is_near_that_in_float32():
    """In its loss and, by a step of plain descent, in its gradient; parameters stay float32."""
    losses, gradients, before = [], [], jax.device_get(make_params(make_flow()))
    for dtype in ("float32", "bfloat16"):
        painter = PainterConfig(width=16, layers=1, heads=2, patch=4, dtype=dtype)
        flow, batch = make_flow(unroll=1, painter=painter), make_batch(16)
        descent = OptimizerConfig(name="sgd", lr=1.0, clip=0.0, warmup=0, schedule="constant")
        mesh = make_mesh(MeshConfig(), jax.devices()[:1])
        layout = Layout(flow, descent, batch, mesh, steps=1)
        step = compiled(make_train_step(flow, layout.optimizer, ema=0.0), layout.shardings, mesh)
        state = layout.init(0) | {"params": jax.tree.map(jnp.array, before)}
        state, metrics = step(state, batch)
        assert {x.dtype for x in jax.tree.leaves(state["params"])} == {jnp.dtype("float32")}
        moved = jax.tree.map(np.subtract, before, jax.device_get(state["params"]))
        losses.append(float(metrics["loss"]))
        gradients.append(np.concatenate([x.ravel() for x in jax.tree.leaves(moved)]))
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.03)
    error = np.linalg.norm(gradients[1] - gradients[0])
    assert error < 0.03 * np.linalg.norm(gradients[0])


@pytest.mark.parametrize("every", [1, 2, 3])
def test_of_a_batch_a_share_is_chains(every):
    """Each example is in one part, and every canvas counts alike."""
    size, canvases, seen = 6, 3, []
    batch = {"image": jnp.arange(size, dtype=jnp.float32), "tokens": 10 * jnp.arange(size)}

    def loss(batch, key, canvases):
        np.testing.assert_array_equal(batch["tokens"], 10 * batch["image"])
        seen.extend((float(x), canvases) for x in batch["image"])
        return batch["image"].mean(), {"mean": batch["image"].mean()}

    found, metrics = over_chains(loss, batch, jax.random.key(0), canvases, 1 / every)
    assert sorted(x for x, _ in seen) == list(range(size))
    assert sum(n == canvases for _, n in seen) == size // every
    count = sum(n for _, n in seen)
    np.testing.assert_allclose(found, sum(x * n for x, n in seen) / count, rtol=1e-6)
    np.testing.assert_allclose(metrics["mean"], batch["image"].mean(), rtol=1e-6)


def test_chains_for_some_and_one_canvas_for_others():
    flow, batch = make_flow(unroll=2, chains=0.5), make_batch()
    params, key = make_params(flow), jax.random.key(0)
    whole = make_flow(unroll=2)
    loss, of_whole = (
        jax.jit(partial(each.loss, PLAYER), static_argnums=3) for each in (flow, whole)
    )
    trained = loss(params, batch, key)[0]
    assert 0 < trained < jnp.inf
    # val losses compare between runs with and without
    np.testing.assert_array_equal(
        loss(params, batch, key, False)[0], of_whole(params, batch, key, False)[0]
    )


def test_mistakes_in_its_options_are_named():
    with pytest.raises(UserError, match=r"objective\.chains=0.4"):
        make_flow(chains=0.4)
    flow = make_flow(chains=1 / 3)
    params, key = make_params(flow), jax.random.key(0)
    with pytest.raises(UserError, match="a multiple of 3"):
        flow.loss(PLAYER, params, make_batch(), key)
    with pytest.raises(UserError, match=r"objective\.unroll=0"):
        make_flow(unroll=0)
    with pytest.raises(UserError, match=r"objective\.ratio"):
        make_flow(ratio=(0.9, 0.5))


@pytest.mark.parametrize("option", [{"carry": -0.1}, {"own": 2.0}, {"text_dropout": 10}])
def test_probabilities_are_from_0_to_1(option):
    with pytest.raises(UserError, match=rf"objective\.{next(iter(option))}=.* from 0 to 1"):
        make_flow(**option)
