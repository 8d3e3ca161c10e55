"""Tokens in row order: each given those before it, at the cost of one."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.drawing import solvers
from vismem.drawing.diversity import CADS, PLAIN, Repulsion, Slots
from vismem.drawing.scan import Guidance, draw
from vismem.drawing.solvers import Euler, RevealEvenly, rest
from vismem.errors import UserError
from vismem.models.generator import Carry, MemoryConfig, PainterConfig, StrategyConfig
from vismem.objectives.masked import CERTAIN, PLAYER, Masked
from vismem.objectives.raster import Raster, number, read, write
from vismem.training.flops import matmul_flops

SIDE, VOCAB = 4, 6  # cells a side of an 8-px picture
CELLS = SIDE**2
TEXTS = jnp.array([[1, 2, 3, 0], [4, 5, 0, 0], [4, 5, 0, 0]])
TEXT_ONLY = {"fusion": {"name": "attention"}, "memory": MemoryConfig(enabled=False)}
PLACES = {"fusion": {"name": "concat"}, "memory": MemoryConfig(slots=3, places=True)}


def painter(layers, patch=1):
    return PainterConfig(width=16, layers=layers, heads=2, patch=patch)


def make(cls=Masked, size=8, **options):
    parts = {
        "text": {"name": "transformer", "width": 16, "layers": 1, "heads": 2},
        "vision": {"name": "patches"},
        "fusion": {"name": "attention"},
        "painter": painter(layers=2),
        "memory": MemoryConfig(slots=3),
        "strategy": StrategyConfig(),
        "vocab_size": 11,
        "image_size": size,
        "autoencoder": {"folder": "", "levels": (3, 2), "patch": 2, "widths": (8,), "blocks": 0},
        "order": "raster",
    }
    return cls(**parts | options)


class Whole(Raster):
    """Draws by a pass over all cells at every step."""

    def prefill(self, params, carry, canvas, context):
        return None

    def step(self, params, carry, canvas, time, context):
        given = (carry, canvas, time, context)
        memory, logits, attention = self.apply(params, *given, method="step")
        place = number(time[0], canvas)
        return Carry(memory, write(CERTAIN * canvas, read(logits, place), place)), attention


def shapes(masked):
    size = masked.image_size
    batch = {"image": jnp.zeros((1, size, size, 3), jnp.uint8), "tokens": TEXTS[:1]}
    return nn.unbox(jax.eval_shape(masked.init, jax.random.key(0), batch))


def some_params(masked):
    """At random: what starts at zero would hide what a cell sees."""
    leaves, tree = jax.tree.flatten(shapes(masked))
    rng = np.random.default_rng(0)
    scales = [2 * x.shape[0] ** -0.5 if x.ndim == 2 else 0.1 for x in leaves]
    drawn = [rng.normal(0, scale, x.shape) for scale, x in zip(scales, leaves)]
    return tree.unflatten([jnp.asarray(x, jnp.float32) for x in drawn])


def some_canvas(size=3):
    tokens = jax.random.randint(jax.random.key(0), (size, SIDE, SIDE), 0, VOCAB)
    return jax.nn.one_hot(tokens, VOCAB)


@pytest.mark.parametrize("options", [{}, PLACES], ids=["slots", "places"])
def test_a_cell_depends_on_those_before_it_and_on_no_other(options):
    masked = make(**options)
    params = some_params(masked)

    def logits(canvas):
        return masked.forced(params, canvas, TEXTS[:1]).reshape(CELLS, VOCAB)

    moved = jax.jit(jax.jacobian(logits))(some_canvas(1)).reshape(CELLS, VOCAB, CELLS, VOCAB)
    moved = np.abs(moved).max((1, 3))
    np.testing.assert_array_equal(moved > 0, np.tri(CELLS, k=-1, dtype=bool))


@pytest.mark.parametrize("options", [{}, TEXT_ONLY, PLACES], ids=["slots", "text", "places"])
def test_a_step_gives_what_a_pass_over_all_cells_gives(options):
    masked = make(**options)
    params, clean = some_params(masked), some_canvas()

    @jax.jit
    def stepwise(known):
        """Every cell's logits in a drawing that goes on from the first `known` cells."""
        begin = masked.apply(params, len(clean), method="begin")
        context = masked.encode(params, TEXTS, begin.estimate)
        canvas = masked.renoise(clean, jnp.ones(3), jnp.full(3, known / CELLS), None)
        cache = masked.prefill(params, begin, canvas, context)

        def step(state, place):
            canvas, cache = state
            time = jnp.full(len(clean), place / CELLS)
            carry = begin.replace(cache=cache)
            carry, _ = masked.step(params, carry, canvas, time, context)
            canvas = write(canvas, read(clean, place), place)
            return (canvas, carry.cache), read(carry.estimate, place)

        places = jnp.arange(CELLS)
        found = jax.lax.scan(step, (canvas, cache), jnp.maximum(places, known))[1]
        return found.swapaxes(0, 1)

    expected = jax.jit(partial(masked.forced, params))(clean, TEXTS).reshape(3, CELLS, VOCAB)
    near = partial(np.testing.assert_allclose, rtol=0, atol=1e-5 * jnp.abs(expected).max())
    near(stepwise(0), expected)
    near(stepwise(5)[:, 5:], expected[:, 5:])


WAYS = {
    "likeliest": (Euler(CELLS), Guidance(2.0, interval=(0.1, 0.8)), PLAIN),
    "at random": (RevealEvenly(CELLS), Guidance(2.0, memory=1.5), Slots()),
    "again": (rest(RevealEvenly(CELLS), 0.4), Guidance(1.0), Repulsion()),
}


@pytest.mark.parametrize("way", WAYS)
def test_drawings_with_a_cache_are_those_without(way):
    how = dict(zip(("solver", "guidance", "diversity"), WAYS[way]))
    if way == "again":
        how["again"] = Carry(jax.random.normal(jax.random.key(3), (3, 3, 16)), some_canvas())
    options = {"painter": painter(layers=1), "temperature": 1.0}
    params, key = some_params(make(**options)), jax.random.key(0)

    def drawn(cls):
        masked = make(cls, **options)
        return jax.jit(lambda p: draw(masked, p, TEXTS, key, trace=True, **how))(params)

    (left, trace), (expected, whole) = drawn(Masked), drawn(Whole)
    np.testing.assert_array_equal(left.estimate, expected.estimate)
    np.testing.assert_array_equal(left.estimate.sum(-1), 1)
    for found, same in ((left.memory, expected.memory), (trace.memory, whole.memory)):
        np.testing.assert_allclose(found, same, atol=1e-5)
    np.testing.assert_allclose(trace.attention, whole.attention, atol=1e-5)
    assert left.cache is None
    tokens = left.estimate.argmax(-1).reshape(3, CELLS)
    assert (tokens[0] != tokens[1]).any()
    assert len(np.unique(tokens)) > 2
    if way == "again":  # the first 6 of 16 cells stay
        kept = some_canvas().argmax(-1).reshape(3, CELLS)
        np.testing.assert_array_equal(tokens[:, :6], kept[:, :6])


def test_a_step_costs_a_cell_however_many_there_are():
    def flops(size):
        """Of a step with a cache, and of a pass over all cells."""
        masked = make(size=size)
        canvas = jax.ShapeDtypeStruct((1, size // 2, size // 2, VOCAB), jnp.float32)
        time, params = jax.ShapeDtypeStruct((1,), jnp.float32), shapes(masked)

        def begun(params, canvas):
            begin = masked.apply(params, 1, method="begin")
            context = masked.encode(params, TEXTS[:1], begin.estimate)
            cache = masked.prefill(params, begin, canvas, context)
            return begin.replace(cache=cache), context

        carry, context = jax.eval_shape(begun, params, canvas)
        step = matmul_flops(masked.step, params, carry, canvas, time, context)
        whole = matmul_flops(masked.forced, params, canvas, TEXTS[:1])
        return step, whole

    (few, few_whole), (many, many_whole) = flops(8), flops(16)
    assert many_whole > 3 * few_whole
    assert many < 1.5 * few
    assert many_whole > 30 * many


@pytest.fixture(scope="module")
def loss_and_gradient():
    masked = make(label_smoothing=0.0, painter=painter(layers=1))
    image = jax.random.randint(jax.random.key(0), (3, 8, 8, 3), 0, 256).astype(jnp.uint8)
    batch = {"image": image, "tokens": TEXTS}

    def loss(own, params):
        return masked.loss(PLAYER, params | {PLAYER: own}, batch, jax.random.key(1))[0]

    found = jax.jit(jax.value_and_grad(loss))
    return masked, lambda params: found(params[PLAYER], params)


def test_knowing_nothing_costs_as_much_as_there_are_tokens(loss_and_gradient):
    masked, found = loss_and_gradient
    loss, _ = found(jax.tree.map(lambda x: jnp.zeros(x.shape), shapes(masked)))
    np.testing.assert_allclose(loss, np.log(VOCAB), rtol=1e-5)


def test_what_is_used_is_learned(loss_and_gradient):
    """All but what would read X and Y has a gradient: both are empty when memory reads."""
    masked, found = loss_and_gradient
    leaves = jax.tree.leaves_with_path(found(some_params(masked))[1])
    still = [jax.tree_util.keystr(path) for path, x in leaves if not jnp.abs(x).max() > 1e-7]
    assert still == ["['seen']['embed']['kernel']"]


def test_the_next_token_is_drawn_with_its_probability():
    masked, shares = make(temperature=0.5), np.array([0.5, 0.3, 0.2])
    logits = jnp.log(jnp.array([*shares, 0, 0, 0]) + 1e-9) * jnp.ones((2_000, SIDE, SIDE, 1))
    before, now, to = jnp.zeros_like(logits), jnp.array(5 / CELLS), jnp.array(6 / CELLS)
    after = masked.reveal(before, logits, to, jax.random.key(0))
    np.testing.assert_array_equal(write(after, read(before, 5), 5), before)
    sharper = shares**2 / (shares**2).sum()
    np.testing.assert_allclose(read(after, 5).mean(0)[:3], sharper, atol=0.03)
    likeliest = masked.advance(before, logits, now, to)
    np.testing.assert_array_equal(read(likeliest, 5).argmax(-1), 0)
    np.testing.assert_array_equal(likeliest.sum((1, 2, 3)), 1)


def test_cells_are_counted_in_row_order():
    canvas = some_canvas()
    assert [int(number(t, canvas)) for t in Euler(CELLS).times] == list(range(CELLS + 1))
    np.testing.assert_array_equal(read(canvas, 6), canvas[:, 1, 2])
    np.testing.assert_array_equal(write(canvas, jnp.zeros((3, VOCAB)), 6)[:, 1, 2], 0)


def test_a_text_s_features_may_be_known():
    """As where they are kept in a cache; and they are what is read."""
    masked = make()
    batch = {"image": jnp.zeros((3, 8, 8, 3), jnp.uint8), "tokens": TEXTS}
    params = some_params(masked)
    read = masked.apply(params, TEXTS, method=lambda model, tokens: model.text_encoder(tokens)[0])
    losses = [
        masked.loss(PLAYER, params, batch | text, jax.random.key(0), train=False)[0]
        for text in ({}, {"text_features": read}, {"text_features": read[::-1]})
    ]
    assert losses[0] == losses[1] != losses[2]


def test_mistakes_in_its_options_are_named():
    for options, said in [
        ({"painter": painter(1, patch=2)}, r"painter\.patch=2"),
        ({"chains": 0.5}, r"objective\.chains=0\.5: is for order='random'"),
        ({"vision": {"name": "cnn"}}, r"vision\.name='cnn'"),
    ]:
        with pytest.raises(UserError, match=said):
            make(**options)


def test_what_a_cell_a_step_cannot_be_drawn_with_is_named():
    masked = make()
    for solver, steps, said in [
        ("reveal_evenly", 8, r"drawing\.steps: .*take 16"),
        ("reveal", 16, r"drawing\.steps: .*reveal_evenly"),
        ("heun", 16, r"drawing\.solver='heun'"),
    ]:
        with pytest.raises(UserError, match=said):
            solvers.make(solver, steps, 2.0, masked)
    given = (TEXTS, jax.random.key(0), Euler(CELLS), Guidance())
    with pytest.raises(UserError, match=r"drawing\.diversity: cads"):
        jax.eval_shape(
            lambda params: draw(masked, params, *given, diversity=CADS())[0], shapes(masked)
        )
