"""Diffusion on its circle: marginals, predictions, and solvers against a known solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.drawing.solvers import Ancestral, Euler, Heun, Multistep
from vismem.objectives.diffusion import Diffusion


def diffusion(**attributes) -> Diffusion:
    """A path without a model."""
    made = object.__new__(Diffusion)
    made.__dict__ |= {"prediction": "x", "unroll": 2, **attributes}
    return made


def cosine_alpha_bar(s: np.ndarray) -> np.ndarray:
    """Nichol & Dhariwal's, with s = 1 all noise and their offset of 0.008 left out."""
    return np.cos(s * np.pi / 2) ** 2


def test_the_path_is_the_cosine_schedule():
    a, b = diffusion().path(jnp.linspace(0, 1, 11))
    np.testing.assert_allclose(a**2, cosine_alpha_bar(1 - np.linspace(0, 1, 11)), atol=1e-6)
    np.testing.assert_allclose(a**2 + b**2, 1, atol=1e-6)


def test_canvases_of_a_chain_have_the_marginals_of_the_path():
    times = np.array([0.3, 0.6])
    picture = jnp.full((20_000, 1, 1, 2), 0.7)
    each = jnp.broadcast_to(times[:, None], (2, len(picture)))
    canvases = diffusion().chain(picture, each, jax.random.key(0))
    for time, canvas in zip(times, canvases):
        assert abs(canvas.mean() - 0.7 * np.sin(time * np.pi / 2)) < 0.02
        assert abs(canvas.std() - np.cos(time * np.pi / 2)) < 0.02
    # What renoising adds is uncorrelated with the noise of the cleaner canvas.
    shrunk = np.sin(0.3 * np.pi / 2) / np.sin(0.6 * np.pi / 2)
    added, noise = canvases[0] - shrunk * canvases[1], canvases[1] - canvases[1].mean()
    assert abs(np.corrcoef(added.ravel(), noise.ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("prediction", ["x", "v", "eps"])
def test_predictions_of_one_truth_give_one_estimate(prediction):
    """v is -pi/2 times that of Salimans & Ho: cos * noise - sin * picture."""
    picture, noise = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 3))
    time = jnp.array([0.2, 0.5, 0.9])
    angle = time[:, None, None, None] * jnp.pi / 2
    canvas = jnp.sin(angle) * picture + jnp.cos(angle) * noise
    velocity = jnp.pi / 2 * (jnp.cos(angle) * picture - jnp.sin(angle) * noise)
    truth = {"x": picture, "v": velocity, "eps": noise}[prediction]
    path = diffusion(prediction=prediction)
    np.testing.assert_allclose(path.estimate(truth, canvas, time), picture, atol=1e-4)
    np.testing.assert_allclose(path.velocity(canvas, picture, time), velocity, atol=1e-4)


@pytest.mark.parametrize("prediction", ["v", "eps"])
def test_the_weight_makes_the_picture_s_error_that_of_the_prediction(prediction):
    path, time = diffusion(prediction=prediction), jnp.array([0.3, 0.7])
    canvas, output, wrong = jax.random.normal(jax.random.key(0), (3, 2, 4, 4, 3))

    def picture(output):
        return path.estimate(output, canvas, time)

    error = jnp.square(picture(output + wrong) - picture(output)).mean((1, 2, 3))
    expected = jnp.square(wrong).mean((1, 2, 3))
    np.testing.assert_allclose(path.weight(time) * error, expected, rtol=1e-4)


def draw(solver, canvas):
    """From noise to pictures ~ N(0, 0.3^2), whose best estimate is known."""
    path, times = diffusion(), jnp.asarray(solver.times)

    def step(state, index):
        canvas, memo = state
        a, b = path.path(times[index])
        estimate = a * 0.09 * canvas / (a**2 * 0.09 + b**2)
        return solver.advance(path, index, canvas, estimate, memo), None

    first = canvas, solver.start(canvas, jax.random.key(1))
    return jax.lax.scan(step, first, jnp.arange(len(times) - 1))[0][0]


@pytest.mark.parametrize(("make", "order"), [(Euler, 1), (Heun, 2), (Multistep, 2)])
def test_solvers_converge_with_their_order(make, order):
    """The flow maps noise to 0.3 times itself."""
    noise = jax.random.normal(jax.random.key(0), (64, 1, 1, 1))
    coarse, fine = (jnp.abs(draw(make(n), noise) - 0.3 * noise).max() for n in (128, 512))
    assert fine < 0.01
    assert coarse / fine > 0.5 * 4**order


def test_ancestral_drawings_are_distributed_as_the_pictures_and_do_not_follow_the_noise():
    noise = jax.random.normal(jax.random.key(0), (4_000, 1, 1, 1))
    drawn = draw(Ancestral(64), noise)
    assert float(drawn.std()) == pytest.approx(0.3, rel=0.1)
    assert abs(np.corrcoef(drawn.ravel(), noise.ravel())[0, 1]) < 0.5


def test_ancestral_steps_draw_from_the_posterior():
    """X_s given a picture and X_t, against Ho et al.'s equation 7 with alphas of the schedule."""
    picture, time, to = 0.4, 0.5, 0.6
    solver, path = Ancestral(10), diffusion()
    canvas = jnp.full((20_000, 1, 1, 1), 0.1)
    memo = solver.start(canvas, jax.random.key(0))
    drawn, _ = solver.advance(path, jnp.array(5), canvas, jnp.full_like(canvas, picture), memo)
    bar, bar_to = cosine_alpha_bar(1 - time), cosine_alpha_bar(1 - to)
    alpha = bar / bar_to
    mean = np.sqrt(bar_to) * (1 - alpha) / (1 - bar) * picture
    mean += np.sqrt(alpha) * (1 - bar_to) / (1 - bar) * 0.1
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.var()) == pytest.approx((1 - bar_to) / (1 - bar) * (1 - alpha), rel=0.05)
