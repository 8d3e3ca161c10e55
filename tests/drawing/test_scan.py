"""Solvers against a flow with a known solution, guidance, the scan over steps, the artist."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian import Gaussian

from vismem.drawing import SOLVERS
from vismem.drawing import artist as artist_module
from vismem.drawing.artist import Artist, DrawConfig, pictures
from vismem.drawing.scan import Branches, Guidance, draw
from vismem.drawing.solvers import Euler, Heun, Multistep, Renoise, rest
from vismem.errors import UserError
from vismem.models.generator import Carry
from vismem.registry import resolve


def error(solver: str, steps: int) -> float:
    """Largest distance from the known solution."""
    flow, key = Gaussian(), jax.random.key(0)
    schedule = resolve(SOLVERS, solver, "solver")(steps)
    tokens = jnp.zeros((64, 1), jnp.int32)
    pictures = draw(flow, {}, tokens, key, schedule, Guidance(scale=1.0))[0].estimate
    truth = jnp.clip(flow.spread * flow.start(key, pictures.shape), -1, 1)
    return float(jnp.abs(pictures - truth).max())


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("multistep", 2)])
def test_solvers_converge_with_their_order(solver, order):
    # Fine enough that errors of the first and the last step no longer cancel others'.
    coarse, fine = error(solver, 128), error(solver, 512)
    assert fine < 0.01
    assert coarse / fine > 0.6 * 4**order


def test_second_order_beats_first_at_equal_evaluations():
    assert error("multistep", 32) < error("euler", 32) / 2
    assert error("heun", 16) < error("euler", 31) / 2


@pytest.mark.parametrize("solver", [Euler(5), Heun(5), Multistep(5), Renoise(5)])
def test_an_estimate_that_does_not_change_is_reached_exactly(solver):
    flow, picture = Gaussian(), jnp.full((2, 1, 1, 1), 0.4)
    canvas = jax.random.normal(jax.random.key(0), picture.shape)
    memo = solver.start(canvas, jax.random.key(1))
    for index in range(len(solver.times) - 1):
        canvas, memo = solver.advance(flow, jnp.array(index), canvas, picture, memo)
    np.testing.assert_allclose(canvas, picture, atol=1e-5)


@pytest.mark.parametrize("solver", [Euler(6), Heun(6)])
def test_the_rest_of_a_schedule_goes_on_where_it_was_cut(solver):
    flow, (canvas,) = Gaussian(), jax.random.normal(jax.random.key(0), (1, 4, 1, 1, 1))

    def run(solver, canvas, until=None):
        memo = solver.start(canvas, jax.random.key(1))
        for index in range(len(solver.times) - 1 if until is None else until):
            carry, _ = flow.step({}, Carry(0, 0), canvas, jnp.full(4, solver.times[index]), None)
            canvas, memo = solver.advance(flow, jnp.array(index), canvas, carry.estimate, memo)
        return canvas

    cut = rest(solver, 0.6)  # falls between two times
    assert cut.times[0] == np.float32(0.5)
    halfway = run(solver, canvas, len(solver.times) - len(cut.times))
    np.testing.assert_allclose(run(cut, halfway), run(solver, canvas), atol=1e-6)
    np.testing.assert_array_equal(rest(solver, 0.0).times, solver.times)


def test_renoise_keeps_nothing_of_the_canvas_but_what_was_made_of_it():
    flow, solver, key = Gaussian(), Renoise(8), jax.random.key(0)
    picture = jnp.full((512, 1, 1, 1), 0.4)

    def after(index, canvas):
        return solver.advance(flow, jnp.array(index), canvas, picture, solver.start(canvas, key))[0]

    one, other = (jax.random.normal(jax.random.key(i), picture.shape) for i in (1, 2))
    early, late = 3, 7
    np.testing.assert_array_equal(after(early, one), after(early, other))
    assert (after(late - 1, one) != after(late - 1, other)).all()
    to = solver.times[early + 1]
    np.testing.assert_allclose(after(early, one).mean(), to * 0.4, atol=0.1)
    np.testing.assert_allclose(after(early, one).std(), 1 - to, atol=0.1)


def test_steps_change_run_time_and_no_program():
    """The traced program of 50 steps has as many equations as that of 5."""

    def program(steps):
        tokens = jnp.zeros((2, 1), jnp.int32)
        traced = jax.make_jaxpr(
            lambda key: draw(Gaussian(), {}, tokens, key, Euler(steps), Guidance())[0]
        )(jax.random.key(0))
        return str(traced).count("=")

    assert program(5) == program(50)


def test_guidance_combines_branches():
    full, bare, forgetful = (jnp.full((2, 1, 1, 1), v) for v in (0.5, 0.2, 0.4))
    both = Branches(Guidance(scale=2.0, interval=(0.2, 0.8), memory=0.5))
    estimates = jnp.concatenate([full, bare, forgetful])
    inside = 0.2 + 2 * (0.5 - 0.2) + 0.5 * (0.5 - 0.4)
    outside = 0.5 + 0.5 * (0.5 - 0.4)
    np.testing.assert_allclose(both.combine(estimates, jnp.array(0.5)), inside, atol=1e-6)
    np.testing.assert_allclose(both.combine(estimates, jnp.array(0.9)), outside, atol=1e-6)
    assert Branches(Guidance(scale=1.0)).count == 1


def test_steps_of_a_model_without_chains_all_begin_as_the_turn_did():
    """Whether a step gets the estimate of the step before."""

    class Sum(Gaussian):
        def step(self, params, carry, canvas, time, text):
            return carry.replace(estimate=carry.estimate + 0.1), jnp.zeros((len(canvas), 0, 1))

    def last_estimate(chained):
        flow, tokens = Sum(), jnp.zeros((1, 1), jnp.int32)
        flow.chained = chained
        trace = draw(flow, {}, tokens, jax.random.key(0), Euler(5), Guidance(1.0), trace=True)[1]
        return float(trace.estimates[-1].squeeze())

    assert last_estimate(True) == pytest.approx(0.5)
    assert last_estimate(False) == pytest.approx(0.1)


def test_branch_without_text_sees_none_and_branch_without_memory_forgets():
    branches = Branches(Guidance(scale=2.0, memory=1.0))
    tokens = jnp.array([[3, 4], [5, 0]])
    np.testing.assert_array_equal(
        branches.texts(tokens), [[3, 4], [5, 0], [0, 0], [0, 0], [3, 4], [5, 0]]
    )
    carry = Carry(jnp.ones((6, 1, 1)), jnp.ones((6, 1, 1, 1)))
    empty = jax.tree.map(jnp.zeros_like, carry)
    forgotten = branches.forget(carry, empty)
    np.testing.assert_array_equal(forgotten.memory.ravel(), [1, 1, 1, 1, 0, 0])


@pytest.mark.parametrize("interval", [(0.8, 0.2), (-0.1, 0.5), (0.5, 1.5)])
def test_an_interval_of_guidance_is_of_times_in_order(interval):
    with pytest.raises(UserError, match=r"drawing\.guidance_interval=.* two times in order"):
        DrawConfig(guidance_interval=interval)


@pytest.fixture
def artist():
    words = SimpleNamespace(encode=lambda text: np.full(3, len(text), np.int32))
    return Artist(Gaussian(), words, DrawConfig(steps=3), params={})


def test_the_artist_draws_any_number_of_texts_the_same_each_time(artist):
    texts = [f"{'a' * (i % 7 + 1)}" for i in range(130)]
    first, again = artist.draw(texts, seed=1).images, artist.draw(texts, seed=1).images
    assert first.shape == (130, 1, 1, 1)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(artist.draw(texts[128:], seed=1, first=128).images, first[128:])
    assert (artist.draw(texts, seed=2).images != first).any()


def test_few_texts_are_drawn_by_the_program_of_many_if_asked(artist, monkeypatch):
    compiled, start = [], Gaussian.start

    def seen(self, key, shape):
        compiled.append(shape[0])
        return start(self, key, shape)

    monkeypatch.setattr(Gaussian, "start", seen)
    texts = [f"{'a' * (i % 7 + 1)}" for i in range(130)]
    many = artist.draw(texts, seed=1).images
    few = artist.draw(texts[:5], seed=1, whole=True).images
    assert compiled == [128]
    np.testing.assert_array_equal(few, many[:5])
    artist.draw(texts[:5], seed=1)
    assert compiled == [128, 5]


def test_pictures_are_decoded_in_parts(monkeypatch):
    class Wide:
        def picture(self, params, canvas):
            return (params * canvas[..., None] * jnp.arange(100)).mean(-1)

    def found(canvases):
        return pictures(Wide(), jnp.array(0.5), canvases)

    canvases = jax.random.normal(jax.random.key(0), (8, 2, 2, 3))
    whole = found(canvases)
    monkeypatch.setattr(artist_module, "PIXELS", 3 * 2 * 2)
    np.testing.assert_allclose(found(canvases), whole, rtol=1e-5)
    program = str(jax.make_jaxpr(found)(canvases))
    assert "f32[3,1,2,2,3,100]" in program
    assert "f32[8,1,2,2,3,100]" not in program


def test_the_trace_ends_near_the_picture(artist):
    drawing = artist.draw(["a", "b"], steps=40, trace=True)
    assert drawing.estimates.shape[:2] == (40, 2)
    gap = np.abs(drawing.estimates[-1].astype(int) - drawing.images.astype(int))
    assert gap.max() <= 3


def test_mistakes_are_named(artist):
    with pytest.raises(UserError, match="there is no text"):
        artist.draw([])
    with pytest.raises(UserError, match="text is empty"):
        artist.draw(["a", " "])
    with pytest.raises(UserError, match="steps=0"):
        artist.draw(["a"], steps=0)
    with pytest.raises(UserError, match="guidance=nan"):
        artist.draw(["a"], guidance_scale=float("nan"))
    with pytest.raises(UserError, match="has not learned from conversations"):
        artist.draw(["a"], carry=artist.draw(["a"]).carry)
    with pytest.raises(UserError, match="did you mean 'euler'"):
        artist.draw(["a"], solver="eular")
