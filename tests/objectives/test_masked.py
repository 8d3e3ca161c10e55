"""Drawing with tokens: what is masked, what is revealed, and in which order."""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.drawing import SOLVERS, solvers
from vismem.drawing.scan import Guidance, draw
from vismem.drawing.solvers import Reveal, RevealEvenly, rest
from vismem.errors import UserError
from vismem.models.generator import Carry, MemoryConfig, PainterConfig, StrategyConfig
from vismem.objectives.flow import Flow
from vismem.objectives.masked import PLAYER, Masked, known

CELLS, VOCAB = 4, 6  # cells a side of an 8-px picture


def make(**options) -> Masked:
    return Masked(
        text={"name": "transformer", "width": 16, "layers": 1, "heads": 2},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter=PainterConfig(width=16, layers=1, heads=2, patch=2),
        memory=MemoryConfig(slots=3),
        strategy=StrategyConfig(),
        vocab_size=11,
        image_size=8,
        autoencoder={"folder": "", "levels": (3, 2), "patch": 2, "widths": (8,), "blocks": 0},
        **options,
    )


def some_tokens(size: int, seed: int = 0) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), (size, CELLS, CELLS), 0, VOCAB)


def test_the_more_masked_canvas_knows_nothing_that_the_less_masked_does_not():
    masked = make(steps=3)
    clean = jax.nn.one_hot(some_tokens(4_000), VOCAB)
    times = jnp.tile(jnp.array([[0.2], [0.4], [0.8]]), len(clean))
    canvases = masked.chain(clean, times, jax.random.key(1))
    for fewer, more in itertools.pairwise(canvases):
        assert (fewer <= more).all()
    assert (canvases[-1] <= clean).all()
    # The share that is known is t, at every step.
    shares = known(canvases).mean((1, 2, 3))
    np.testing.assert_allclose(shares, [0.2, 0.4, 0.8], atol=0.01)


def test_times_of_a_chain_rise_by_ratios_in_range():
    times = make(steps=3, ratio=(0.5, 0.9)).sample_times(jax.random.key(0), 1_000)
    ratios = times[:-1] / times[1:]
    assert times.shape == (3, 1_000)
    assert ratios.min() >= 0.5
    assert ratios.max() <= 0.9 + 1e-6


class Knowing(Masked):
    """Knows some of the tokens, and is the surer the later they come in row order."""

    def apply(self, params, *args, method):
        if method == "begin":
            return Carry(jnp.zeros((args[0], 0, 1)), jnp.zeros((args[0], CELLS, CELLS, VOCAB)))
        return args[0].replace(estimate=args[1])  # "remember"

    def encode(self, params, tokens, before):
        return tokens

    def step(self, params, carry, canvas, time, context):
        sureness = jnp.linspace(8, 16, CELLS**2).reshape(CELLS, CELLS, 1)
        logits = sureness * jax.nn.one_hot(some_tokens(len(canvas)), VOCAB)
        nobody_looks = jnp.zeros((len(canvas), 0, 1))
        return carry.replace(estimate=self.estimate(logits, canvas, time)), nobody_looks


@pytest.mark.parametrize("solver", [Reveal(5), RevealEvenly(16)])
def test_what_is_known_for_sure_is_drawn(solver):
    masked = Knowing(**vars_of(make()))
    tokens = jnp.zeros((3, 1), jnp.int32)
    left, _ = draw(masked, {}, tokens, jax.random.key(0), solver, Guidance(scale=1.0))
    np.testing.assert_array_equal(left.estimate.argmax(-1), some_tokens(3))
    np.testing.assert_array_equal(left.estimate.sum(-1), 1)


def test_a_drawing_is_taken_back_by_masking_and_goes_on_from_there():
    masked, key = Knowing(**vars_of(make())), jax.random.key(0)
    other = jax.nn.one_hot(some_tokens(200, seed=9), VOCAB)
    again = Carry(jnp.zeros((200, 0, 1)), other)
    how = (jnp.zeros((200, 1), jnp.int32), key, rest(RevealEvenly(16), 0.5), Guidance(scale=1.0))
    left, _ = draw(masked, {}, *how, again=again)
    tokens, before, drawn = left.estimate.argmax(-1), some_tokens(200, seed=9), some_tokens(200)
    assert ((tokens == before) | (tokens == drawn)).all()
    np.testing.assert_allclose((tokens == before)[before != drawn].mean(), 0.5, atol=0.05)
    seen = []
    masked.step = lambda params, carry, *given: seen.append(carry) or Knowing.step(
        masked, params, carry, *given
    )
    with jax.disable_jit():
        draw(masked, {}, *how, again=again)
    shown = jax.nn.softmax(seen[0].estimate)  # to memory, of what is drawn again
    np.testing.assert_allclose(shown, other, atol=1e-6)
    nothing = masked.renoise(other, jnp.ones(200), jnp.zeros(200), key)
    np.testing.assert_array_equal(nothing, masked.start(key, other.shape))


def vars_of(masked: Masked) -> dict:
    return {name: getattr(masked, name) for name in masked.__dataclass_fields__}


def test_as_many_tokens_are_revealed_as_the_time_says_and_none_is_taken_back():
    masked = make()
    logits = jax.random.normal(jax.random.key(0), (5, CELLS, CELLS, VOCAB))
    canvas = jnp.zeros_like(logits)
    for i, to in enumerate((0.25, 0.5, 0.75, 1.0)):
        before = canvas
        shown = masked.estimate(jax.random.normal(jax.random.key(i), logits.shape), canvas, None)
        canvas = masked.reveal(canvas, shown, jnp.array(to), jax.random.key(i))
        np.testing.assert_array_equal(known(canvas).sum((1, 2)), to * CELLS**2)
        assert (canvas >= before).all()


def test_the_surest_come_first_where_nothing_is_left_to_chance():
    masked = make()
    sureness = jax.random.permutation(jax.random.key(0), jnp.arange(1.0, 17)).reshape(1, 4, 4, 1)
    logits = sureness * jax.nn.one_hot(some_tokens(1), VOCAB)
    canvas = masked.advance(jnp.zeros_like(logits), logits, jnp.array(0.0), jnp.array(0.25))
    np.testing.assert_array_equal(known(canvas), sureness[..., 0] > 12)
    np.testing.assert_array_equal(canvas.argmax(-1)[known(canvas)], some_tokens(1)[known(canvas)])


@pytest.mark.parametrize(
    ("temperature", "shares"),
    [
        (1.0, [0.5, 0.3, 0.2, 0, 0, 0]),
        (0.5, [25 / 38, 9 / 38, 4 / 38, 0, 0, 0]),
        (0.0, [1, *[0] * 5]),
    ],
)
def test_tokens_are_drawn_with_their_probabilities(temperature, shares):
    masked = make(choice_temperature=0.0, temperature=temperature)
    logits = jnp.log(jnp.array([0.5, 0.3, 0.2, 0, 0, 0]) + 1e-9) * jnp.ones((2_000, 4, 4, 1))
    drawn = masked.reveal(jnp.zeros_like(logits), logits, jnp.array(1.0), jax.random.key(0))
    np.testing.assert_allclose(drawn.mean((0, 1, 2)), shares, atol=0.01)


def test_knowing_nothing_costs_as_much_as_there_are_tokens():
    """Logits of zero: ln V nats a masked token, whatever is known of the others."""
    masked = make(label_smoothing=0.0)
    batch = {
        "image": jax.random.randint(jax.random.key(0), (8, 8, 8, 3), 0, 256).astype(jnp.uint8),
        "tokens": jnp.ones((8, 5), jnp.int32),
    }
    shapes = nn.unbox(jax.eval_shape(masked.init, jax.random.key(0), batch))
    assert set(shapes) == {PLAYER, "autoencoder"}
    assert masked.players == (PLAYER,)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    loss, _ = jax.jit(lambda p: masked.loss(PLAYER, p, batch, jax.random.key(1)))(zeros)
    np.testing.assert_allclose(loss, np.log(VOCAB), rtol=1e-5)


def test_a_picture_is_what_the_likeliest_tokens_stand_for():
    masked = make()
    params = nn.unbox(masked.codec.init(jax.random.key(0), {}))
    canvas = jax.nn.one_hot(some_tokens(2), VOCAB)
    codes = masked.codec.autoencoder.fsq.codes(some_tokens(2))
    shown = jnp.clip(masked.codec.decode(params, codes), -1, 1)
    np.testing.assert_allclose(masked.picture(params, 3 * canvas), shown, atol=1e-6)


def test_features_that_are_known_spare_the_text_encoder():
    masked, key, features = make(), jax.random.key(0), jnp.zeros((3, 5, 16))
    batch = {"image": jnp.zeros((3, 8, 8, 3), jnp.uint8), "tokens": jnp.ones((3, 5), jnp.int32)}
    params = nn.unbox(jax.eval_shape(masked.init, key, batch))
    del params[PLAYER]["text_encoder"]
    loss = partial(masked.loss, PLAYER)
    assert jax.eval_shape(loss, params, {**batch, "text_features": features}, key)[0].shape == ()


def test_mistakes_in_its_options_are_named():
    with pytest.raises(UserError, match=r"objective\.temperature=-1"):
        make(temperature=-1.0)
    with pytest.raises(UserError, match=r"objective\.text_dropout=10: must be from 0 to 1"):
        make(text_dropout=10)
    with pytest.raises(UserError, match=r"objective\.ratio"):
        make(ratio=(0.9, 0.5))


def test_tokens_and_paths_take_solvers_of_their_own():
    """Those of a path would mix tokens as if they were pixels."""
    for solver in SOLVERS:
        of_tokens = solver in ("euler", "reveal", "reveal_evenly")
        of_path = not solver.startswith("reveal")
        for objective, fits in ((make(), of_tokens), (object.__new__(Flow), of_path)):
            if fits:
                assert len(solvers.make(solver, 4, 2.0, objective).times) > 4
            else:
                with pytest.raises(UserError, match=rf"drawing\.solver='{solver}': .*euler or "):
                    solvers.make(solver, 4, 2.0, objective)
