"""GAN and regression: what the players are paid for, and steps that go on from one another."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.drawing import SOLVERS, solvers
from vismem.drawing.scan import Guidance, draw
from vismem.drawing.solvers import Euler, Renoise
from vismem.errors import UserError
from vismem.models.critic import Reading, Verdict
from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig
from vismem.objectives.flow import Flow, column
from vismem.objectives.gan import CRITIC, GAN, info_nce, word_similarity
from vismem.objectives.generative import PLAYER, Generative
from vismem.objectives.regress import Regress
from vismem.random import named_key


def make(objective: type[Generative], **options) -> Generative:
    return objective(
        text={"name": "transformer", "width": 8, "layers": 1, "heads": 1},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter=PainterConfig(width=8, layers=1, heads=1, patch=4),
        memory=MemoryConfig(slots=2),
        strategy=StrategyConfig(),
        vocab_size=11,
        image_size=8,
        **options,
    )


def make_batch(size: int = 3) -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (size, 8, 8, 3)), jnp.uint8),
        "tokens": jnp.asarray(rng.integers(1, 11, (size, 5)), jnp.int32),
    }


def moved(objective: Generative):
    """Parameters with those that start at zero moved, as training would."""
    params = nn.unbox(jax.jit(objective.init)(jax.random.key(0), make_batch()))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return tree.unflatten([x + 0.2 * rng.normal(size=x.shape).astype(np.float32) for x in leaves])


def test_a_drawing_is_what_training_saw_and_each_step_goes_on_from_the_one_before():
    regress = make(Regress, steps=3)
    params, batch = moved(regress), make_batch()
    empty = regress.start(jax.random.key(0), (3, 8, 8, 3))
    times = jnp.tile(jnp.arange(3)[:, None] / 3, 3)

    @jax.jit
    def last(nudge):
        return regress.unroll(params, empty + nudge, batch, times)[-1]

    plain = Guidance(scale=1.0)
    drawn = jax.jit(
        lambda key: draw(regress, params, batch["tokens"], key, Euler(3), plain)[0].estimate
    )
    # Nothing is left to chance, and what was on the canvas stays in what comes of it.
    np.testing.assert_allclose(drawn(jax.random.key(1)), last(jnp.zeros(())), atol=1e-5)
    np.testing.assert_array_equal(drawn(jax.random.key(1)), drawn(jax.random.key(2)))
    assert jnp.abs(last(jnp.ones(())) - last(jnp.zeros(()))).mean() > 0.1


class Still(GAN):
    """Its noise is the same for all, and none is added later."""

    def start(self, key, shape):
        return jnp.broadcast_to(jax.random.normal(jax.random.key(3), shape[1:]), shape)

    def renoise(self, canvas, time, to, key):
        (a, _), (a_to, _) = self.path(column(time)), self.path(column(to))
        return a_to / a * canvas


def test_training_judges_drawings_as_they_are_drawn():
    gan, batch, key = make(Still, steps=3, widths=(4, 4)), make_batch(), jax.random.key(0)
    params, plain = moved(gan), Guidance(scale=1.0)
    drawing = partial(draw, gan, solver=solvers.make("renoise", 3, 1.0, gan), guidance=plain)
    left, _ = jax.jit(drawing)(params, batch["tokens"], key)
    judged = jax.jit(gan.drawings)(params, batch, key)
    assert jnp.abs(judged).mean() > 0.1
    np.testing.assert_allclose(left.estimate, gan.clip(judged), atol=1e-4)


def test_the_critic_s_gradient_reaches_the_last_step_alone():
    gan, batch = make(GAN, steps=2, widths=(4, 4), remat=False), make_batch()
    params, plain = moved(gan), gan.step

    def drawn(nudges):
        numbers = iter(nudges)

        def step(*arguments):
            carry, attention = plain(*arguments)
            return carry.replace(estimate=carry.estimate + next(numbers)), attention

        gan.step = step
        return gan.drawings(params, batch, jax.random.key(0)).sum()

    slopes = jax.jit(jax.grad(drawn))(jnp.zeros(2))
    np.testing.assert_allclose(slopes, [0, batch["image"].size], rtol=1e-5)


def test_the_generator_learns_flow_s_loss_beside_the_critic_s():
    gan = make(GAN, flow=3.0, steps=1, unroll=1, widths=(4, 4))
    params, batch, key = moved(gan), make_batch(), jax.random.key(0)

    @jax.jit
    def found():
        flow, _ = Flow.loss(gan, PLAYER, params, batch, named_key(key, "flow"))
        return gan.loss(PLAYER, params, batch, key), flow

    (loss, metrics), flow = found()
    assert flow > 0.1
    critic_s = metrics["adversary"] + metrics["contrast"]
    np.testing.assert_allclose(loss, critic_s + 3 * flow, rtol=1e-5)


def test_choices_are_left_to_noise_at_every_step():
    """Two drawings that begin with the same noise differ."""
    gan, batch = make(GAN, steps=3, widths=(4, 4)), make_batch()
    gan.start = lambda key, shape: jnp.zeros(shape)
    params, solver = moved(gan), solvers.make("renoise", 3, 1.0, gan)

    @jax.jit
    def drawn(key):
        return draw(gan, params, batch["tokens"], key, solver, Guidance(scale=1.0))[0].estimate

    assert jnp.abs(drawn(jax.random.key(1)) - drawn(jax.random.key(2))).mean() > 0.01


def test_the_generator_is_paid_for_two_drawings_that_differ_up_to_enough():
    options = ({}, {"diversity": 3.0, "enough": 9.0}, {"diversity": 3.0, "enough": 0.01})
    gans = [make(GAN, steps=1, flow=0.0, widths=(4, 4), **each) for each in options]
    params, batch, key = moved(gans[0]), make_batch(), jax.random.key(0)
    found = jax.jit(lambda: [gan.loss(PLAYER, params, batch, key) for gan in gans])()
    (plain, without), (paid, metrics), (capped, _) = found
    assert "distance" not in without
    assert metrics["distance"] > 0.02
    np.testing.assert_allclose(plain - paid, 3 * metrics["distance"], rtol=1e-3)
    np.testing.assert_allclose(plain - capped, 3 * 0.01, rtol=1e-3)


class Linear:
    """A critic whose logits are the sum of all pixels, at two scales. It has no regions, which only
    the words' contrast looks at."""

    def apply(self, _, *arguments, method):
        if method == "read":
            words = jnp.zeros((len(arguments[0]), 1, 4))
            return Reading(words, jnp.ones(words.shape[:2], bool), words[:, 0])
        pixels = arguments[0].sum((1, 2, 3))[:, None]
        return Verdict((pixels, jnp.tile(pixels, 3)), None, jnp.zeros((len(pixels), 4)))


def test_players_losses_by_hand():
    batch = {"image": jnp.full((2, 8, 8, 3), 128, jnp.uint8), "tokens": jnp.array([[1], [2]])}
    real = float((128 / 127.5 - 1) * 192)
    params = {CRITIC: {}, PLAYER: {}}
    found = {}
    for adversary in ("relativistic", "hinge"):
        gan = make(
            GAN,
            steps=1,
            flow=0.0,
            adversary=adversary,
            penalty=0.5,
            widths=(4, 8),
            word_contrast=0.0,
        )
        gan.critic, gan.drawings = Linear(), lambda *_: jnp.zeros((2, 8, 8, 3))
        for player in (CRITIC, PLAYER):
            loss, metrics = gan.loss(player, params, batch, jax.random.key(0))
            found[adversary, player] = float(loss), {n: float(x) for n, x in metrics.items()}
    loss, metrics = found["relativistic", CRITIC]
    assert metrics["adversary"] == pytest.approx(np.log1p(np.exp(-real)), rel=1e-3)
    # The slope is 1 at each of 192 values; pictures and drawings add up.
    assert metrics["penalty"] == pytest.approx(2 * 192)
    assert metrics["contrast"] == pytest.approx(np.log(2), rel=1e-5)  # between two, by chance
    assert loss == pytest.approx(metrics["adversary"] + 0.25 * 2 * 192 + np.log(2), rel=1e-5)
    loss, metrics = found["relativistic", PLAYER]
    assert metrics["adversary"] == pytest.approx(np.log1p(np.exp(real)), rel=1e-3)
    assert loss == pytest.approx(metrics["adversary"] + np.log(2), rel=1e-5)
    adversary = found["hinge", CRITIC][1]["adversary"]
    assert adversary == pytest.approx(max(1 - real, 0) + 1, rel=1e-3)
    assert found["hinge", PLAYER][1]["adversary"] == pytest.approx(0, abs=1e-6)


KL = {"name": "autoencoder_kl", "widths": (4, 4), "blocks": 1, "channels": 2, "groups": 2}
KL |= {"scaling_factor": 2.0, "attention": False}
OURS = {"folder": "", "levels": (3, 2), "patch": 2, "widths": (8,), "blocks": 0}


@pytest.mark.parametrize("autoencoder", [KL, OURS], ids=["kl", "ours"])
def test_on_the_grid_of_an_autoencoder_codes_are_compared_and_pictures_are_drawn(autoencoder):
    regress = make(Regress, steps=2, autoencoder=autoencoder)
    gan = make(GAN, steps=2, autoencoder=autoencoder, widths=(4, 4), word_contrast=0.0)
    batch, key = make_batch(), jax.random.key(0)
    shapes, rng = nn.unbox(jax.eval_shape(regress.codec.init, key, batch)), np.random.default_rng(0)
    codec = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), shapes)
    codes = jax.jit(regress.codec.encode)(codec, batch["image"])
    assert codes.shape == (3, 4, 4, 2)
    # Codes beside the true ones cost their distance, wherever a decoder would take them.
    regress.unroll = lambda *_: jnp.stack([codes, codes + 0.5])
    np.testing.assert_allclose(regress.loss(PLAYER, codec, batch, key)[0], 0.25, rtol=1e-5)
    # The critic sees codes of both: those of the pictures themselves look just as real.
    gan.critic, gan.drawings = Linear(), lambda *_: codes
    _, metrics = gan.loss(CRITIC, {CRITIC: {}, **codec}, batch, key)
    np.testing.assert_allclose(metrics["adversary"], np.log(2), rtol=1e-5)
    assert metrics["penalty"] == pytest.approx(2 * 4 * 4 * 2)
    ways = (regress.codec.decode, regress.picture, gan.picture)
    decoded, *shown = jax.jit(lambda codec: [way(codec, codes) for way in ways])(codec)
    for picture in shown:
        np.testing.assert_array_equal(picture, jnp.clip(decoded, -1, 1))
    del regress.unroll, gan.critic, gan.drawings

    def drawing(objective, params):
        solver = Renoise(2) if objective is gan else Euler(2)
        left, _ = draw(objective, params, batch["tokens"], key, solver, Guidance(scale=1.0))
        return left.estimate, objective.picture(params, left.estimate)

    for objective, players in ((regress, {PLAYER}), (gan, {PLAYER, CRITIC})):
        params = nn.unbox(jax.eval_shape(objective.init, key, batch))
        assert set(params) == players | {"autoencoder"}
        assert set(objective.players) == players
        left, drawn = jax.eval_shape(partial(drawing, objective), params)
        assert (left.shape, drawn.shape) == (codes.shape, batch["image"].shape)
        for player in players:
            loss, _ = jax.eval_shape(partial(objective.loss, player), params, batch, key)
            assert loss.shape == ()


def test_contrast_is_cross_entropy_and_no_text_is_wrong_for_a_picture_of_the_same():
    similarity = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 4)), jnp.float32)
    different = jnp.eye(4, dtype=bool)
    logits = np.asarray(similarity) / 0.1
    rows = [-np.log(np.exp(x[i]) / np.exp(x).sum()) for i, x in enumerate(logits)]
    columns = [-np.log(np.exp(x[i]) / np.exp(x).sum()) for i, x in enumerate(logits.T)]
    expected = (np.mean(rows) + np.mean(columns)) / 2
    assert info_nce(similarity, different) == pytest.approx(expected, rel=1e-4)
    same = different.at[0, 1].set(True).at[1, 0].set(True)
    confused = similarity.at[0, 1].set(1.0).at[1, 0].set(1.0)
    assert info_nce(confused, same) < info_nce(confused, different) - 0.5


def test_words_find_the_regions_that_show_them():
    axes = jnp.eye(4)
    pictures = jnp.stack([axes[:2], axes[2:]])  # regions showing 0 and 1; 2 and 3
    words = jnp.stack([axes[jnp.array([0, 1, 3])], axes[jnp.array([2, 3, 0])]])
    mask = jnp.array([[True, True, False]] * 2)
    text = Reading(words, mask, words[:, 0])
    found = word_similarity(pictures, text)
    assert (jnp.diagonal(found) > 0.9).all()
    assert found[0, 1] < 0.2
    padded = Reading(words.at[:, 2].set(7.0), mask, words[:, 0])
    np.testing.assert_allclose(word_similarity(pictures, padded), found, atol=1e-6)


@pytest.mark.slow
def test_the_real_critic_and_generator_have_finite_gradients_from_the_first_step():
    """The first drawings are empty: nothing may be divided by their length."""
    gan, batch = make(GAN, steps=1, flow=0.0, widths=(4, 8)), make_batch()
    params = nn.unbox(jax.jit(gan.init)(jax.random.key(0), batch))

    @jax.jit
    def gradients(params):
        def loss(player, own):
            return gan.loss(player, {**params, player: own}, batch, jax.random.key(0))[0]

        return {player: jax.grad(loss, argnums=1)(player, params[player]) for player in params}

    for gradient in jax.device_get(gradients(params)).values():
        norm = sum(np.square(g).sum() for g in jax.tree.leaves(gradient)) ** 0.5
        assert 1e-3 < norm < 1e3


def test_mistakes_are_named():
    assert make(GAN, critic_steps=2, widths=(4, 8)).players == (CRITIC, CRITIC, PLAYER)
    with pytest.raises(UserError, match=r"objective\.steps=0"):
        make(Regress, steps=0)
    with pytest.raises(UserError, match=r"objective\.critic_steps=0"):
        make(GAN, critic_steps=0)
    for options, said in (
        ({"steps": 0}, r"objective\.steps=0"),
        ({"flow": 0.0}, r"objective\.flow=0\.0: .* or objective\.steps=1"),
        ({"text_dropout": 0.1}, r"objective\.text_dropout=0\.1: .* leave it out"),
    ):
        with pytest.raises(UserError, match=said):
            make(GAN, widths=(4, 8), **options)
    conversation = {**make_batch(), "image": jnp.zeros((3, 2, 8, 8, 3), jnp.uint8)}
    with pytest.raises(UserError, match="gan draws one picture a text"):
        make(GAN, widths=(4, 8)).init(jax.random.key(0), conversation)
    with pytest.raises(UserError, match=r"objective\.widths"):
        make(GAN, widths=(4, 8, 16, 32))
    for solver in {*SOLVERS} - {"euler"}:
        with pytest.raises(UserError, match=r"take euler$"):
            solvers.make(solver, 2, 1.0, make(Regress))


def test_what_training_has_not_shown_is_not_drawn():
    """More steps or fewer, other ones, and texts left out for guidance."""
    regress, gan = make(Regress, steps=2), make(GAN, steps=2, widths=(4, 4))
    for solver, objective in (("euler", regress), ("renoise", gan)):
        solvers.make(solver, 2, 1.0, objective)
        with pytest.raises(UserError, match=r"drawing\.guidance_scale=1\.75: .* take 1$"):
            solvers.make(solver, 2, 1.75, objective)
        for steps in (1, 3):
            with pytest.raises(UserError, match=r"drawing.*steps=\d"):
                solvers.make(solver, steps, 1.0, objective)
    with pytest.raises(UserError, match=r"take drawing\.steps=2, drawing\.solver=renoise$"):
        solvers.make("euler", 2, 1.0, gan)
