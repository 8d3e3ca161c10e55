import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vismem.errors import UserError
from vismem.models import layers
from vismem.parallel import rules
from vismem.training.optimizer import (
    POLAR,
    OptimizerConfig,
    even_outputs,
    make_optimizer,
    make_schedule,
    match,
    muon,
    names,
)

PARAMS = {
    "painter": {
        "block": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)},
        "head": {"kernel": 2 * jnp.ones((4, 2))},
    }
}


def update(config, gradient=0.0, steps=100):
    """The change of each parameter in a first step with a constant gradient."""
    optimizer = make_optimizer(config, PARAMS, steps)
    trained, _ = optimizer.split("painter", PARAMS["painter"])
    transform = optimizer.players["painter"]
    gradients = jax.tree.map(lambda p: jnp.full_like(p, gradient), trained)
    return transform.update(gradients, transform.init(trained), trained)[0]


def constant(**options):
    return OptimizerConfig(lr=0.1, schedule="constant", warmup=0, clip=0, **options)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "adafactor", "muon", "normuon"])
def test_every_optimizer_goes_downhill(name):
    optimizer = make_optimizer(constant(name=name), PARAMS, 50)
    transform, params = optimizer.players["painter"], names(PARAMS)
    opt = transform.init(params)
    target = jax.tree.map(lambda p: p * 0.5, params)

    def loss(params):
        return sum(jnp.square(params[n] - target[n]).sum() for n in params)

    first = loss(params)
    for _ in range(50):
        updates, opt = transform.update(jax.grad(loss)(params), opt, params)
        params = optax.apply_updates(params, updates)
    assert loss(params) < 0.2 * first


def test_adamw_is_optax_adamw():
    ours = update(constant(weight_decay=0.3, decay=((".", 1.0),)), gradient=0.7)
    reference = optax.adamw(0.1, b1=0.9, b2=0.95, weight_decay=0.3)
    params = names(PARAMS)
    gradients = jax.tree.map(lambda p: jnp.full_like(p, 0.7), params)
    expected = reference.update(gradients, reference.init(params), params)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, expected)


@pytest.mark.parametrize(("rounds", "tolerance"), [(False, 1e-5), (True, 0.1)])
def test_muon_is_optax_muon_where_their_momenta_agree(rounds, tolerance, monkeypatch):
    monkeypatch.setattr(layers, "cpu_multiplies_bfloat16", lambda: rounds)
    key = jax.random.key(0)
    grads = {
        "a/kernel": jax.random.normal(key, (8, 24)),
        "b/kernel": jax.random.normal(key, (32, 4)),
    }
    ours, theirs = muon(), optax.contrib.muon(1.0, ns_coeffs=POLAR, consistent_rms=0.2)
    direction, _ = ours.update(grads, ours.init(grads), grads)  # the first: no momentum yet
    expected, _ = theirs.update(grads, theirs.init(grads), grads)
    for name in grads:
        error = jnp.linalg.norm(direction[name] + expected[name])
        assert error < tolerance * jnp.linalg.norm(expected[name])


@pytest.mark.parametrize(("platform", "expected"), [("cpu", False), ("tpu", True)])
def test_muon_rounds_where_what_it_is_traced_for_is_faster_for_it(platform, expected, monkeypatch):
    """Such as a plan's chips, whatever this machine has."""
    monkeypatch.setattr(layers, "cpu_multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(rules, "platform", lambda: platform)
    grads, transform = {"kernel": jnp.ones((8, 24))}, muon()
    program = jax.make_jaxpr(transform.update)(grads, transform.init(grads))
    assert ("bf16" in str(program)) == expected


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("shape", [(32, 128), (96, 32), (33, 20)])
def test_muon_brings_singular_values_near_one(shape, rounds, monkeypatch):
    """Also where rounding could drive the largest beyond what its polynomials bear."""
    monkeypatch.setattr(layers, "cpu_multiplies_bfloat16", lambda: rounds)
    rank = min(shape)
    (left, _), (right, _) = (
        np.linalg.qr(np.random.default_rng(0).normal(size=(side, rank))) for side in shape
    )
    values = np.geomspace(1, 0.004, rank)
    of_many = (left * values / np.linalg.norm(values)) @ right.T
    of_one = np.outer(left[:, 0], right[:, 0])
    for matrix, count in ((of_many, (values > 0.003 * np.linalg.norm(values)).sum()), (of_one, 1)):
        grads = {"kernel": jnp.asarray(matrix, jnp.float32)}
        direction, _ = (transform := muon(0.0)).update(grads, transform.init(grads))
        found = np.linalg.svd(np.asarray(direction["kernel"]), compute_uv=False)
        found = found[:count] / (0.2 * max(shape) ** 0.5)
        assert found.min() > 0.75
        assert found.max() < 1.25


def test_outputs_move_alike():
    """Two steps of NorMuon (Li et al. 2025) after the orthogonalisation, by the paper's formulas;
    the paper's matrices are [outputs, inputs]."""
    rng, v = np.random.default_rng(0), np.zeros((24, 1))
    transform = even_outputs(0.9)
    state = transform.init({"kernel": jnp.zeros((8, 24))})
    for _ in range(2):
        o = rng.normal(size=(24, 8)) * np.linspace(0.1, 3, 24)[:, None]
        v = 0.9 * v + 0.1 * np.mean(o * o, axis=1, keepdims=True)
        o_hat = o / np.sqrt(v)
        expected = 0.2 * np.sqrt(24 * 8) / np.linalg.norm(o_hat) * o_hat
        found, state = transform.update({"kernel": jnp.asarray(o.T, jnp.float32)}, state)
        np.testing.assert_allclose(found["kernel"], expected.T, rtol=1e-5)
    nothing = {"kernel": jnp.zeros((8, 24))}
    found, _ = transform.update(nothing, transform.init(nothing))
    np.testing.assert_array_equal(found["kernel"], 0)


def test_decay_falls_on_matrices_unless_a_rule_says_otherwise():
    def decayed(**options):
        """What decay alone changes."""
        one, other = (
            update(constant(name="sgd", weight_decay=w, **options), gradient=1.0) for w in (1.0, 0)
        )
        return jax.tree.map(jnp.subtract, one, other)

    plain = decayed()
    assert plain["painter/block/bias"][0] == 0
    assert plain["painter/block/kernel"][0, 0] == pytest.approx(-0.1)
    ruled = decayed(decay=(("bias", 0.5), ("block", 0.0)))
    assert ruled["painter/block/bias"][0] == pytest.approx(-0.05)  # the first match wins
    assert ruled["painter/block/kernel"][0, 0] == 0
    assert ruled["painter/head/kernel"][0, 0] == pytest.approx(-0.2)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "adafactor", "muon", "normuon"])
def test_what_no_loss_reads_does_not_decay(name):
    """A head that is not used, and rows of a table for words that do not occur."""

    def after(weight_decay):
        optimizer = make_optimizer(constant(name=name, weight_decay=weight_decay), PARAMS, 10)
        transform, params = optimizer.players["painter"], names(PARAMS)
        opt = transform.init(params)
        for _ in range(2):
            gradient = jax.grad(lambda p: p["painter/block/kernel"][:2].sum())(params)
            updates, opt = transform.update(gradient, opt, params)
            params = optax.apply_updates(params, updates)
        return params

    one, other = after(0.5), after(0.0)
    np.testing.assert_array_equal(one["painter/head/kernel"], PARAMS["painter"]["head"]["kernel"])
    np.testing.assert_array_equal(one["painter/block/kernel"][2:], 1)
    assert (one["painter/block/kernel"][:2] < other["painter/block/kernel"][:2]).all()


def test_learning_rate_factors():
    changes = update(constant(name="sgd", lr_factors=(("head", 0.1),)), gradient=1.0)
    assert changes["painter/head/kernel"][0, 0] == pytest.approx(-0.01)
    assert changes["painter/block/kernel"][0, 0] == pytest.approx(-0.1)


def test_clipping_bounds_the_global_norm():
    config = OptimizerConfig(name="sgd", lr=1.0, schedule="constant", warmup=0, clip=0.5)
    assert optax.tree.norm(update(config, gradient=3.0)) == pytest.approx(0.5, rel=1e-5)


def test_frozen_parameters_have_no_state():
    optimizer = make_optimizer(constant(freeze=(("block/", True),)), PARAMS, 10)
    trained, frozen = optimizer.split("painter", PARAMS["painter"])
    assert set(trained) == {"painter/head/kernel"}
    sizes = [x.size for x in jax.tree.leaves(optimizer.players["painter"].init(trained))]
    assert sorted(sizes) == [1, 1, 8, 8]  # two counts and two moments of the head
    joined = optimizer.join("painter", trained, frozen)
    assert jax.tree.structure(joined) == jax.tree.structure(PARAMS["painter"])


def test_the_first_rule_that_matches_decides():
    rules = (("head", 1), ("kernel$", 2))
    assert match(rules, names(PARAMS), "x", lambda name: 0) == {
        "painter/block/kernel": 2,
        "painter/block/bias": 0,
        "painter/head/kernel": 1,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"freeze": (("blok", True),)}, "optimizer.freeze: 'blok' matches no parameter"),
        ({"decay": (("(", 0.0),)}, "optimizer.decay: .* not a regular expression"),
        ({"freeze": (("painter", True),)}, "freezes every parameter"),
    ],
)
def test_bad_rules(options, said):
    with pytest.raises(UserError, match=said):
        make_optimizer(constant(**options), PARAMS, 10)


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("constant", 1000, 1.0),
        ("cosine", 550, 0.5),
        ("cosine", 1000, 0.0),
        ("linear", 775, 0.25),
        ("rsqrt", 400, 0.5),
        ("warmup-stable-decay", 800, 1.0),
        ("warmup-stable-decay", 900, 0.5),
    ],
)
@pytest.mark.parametrize("warmup", [100, 0.1])  # steps, and their share
def test_schedules(name, step, expected, warmup):
    schedule = make_schedule(OptimizerConfig(lr=2.0, schedule=name, warmup=warmup), 1000)
    assert schedule(step) == pytest.approx(2 * expected, abs=1e-6)
    rising = [float(schedule(s)) for s in range(101)]
    assert rising[0] == pytest.approx(2 / 101)
    assert rising == sorted(rising)
