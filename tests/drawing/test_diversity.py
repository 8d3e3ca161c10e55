"""What makes drawings of one text differ: off by default, to its formulas, apart and repeatable."""

import copy
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conversing import SIZE, make_artist

from vismem.drawing.artist import DrawConfig
from vismem.drawing.diversity import CADS, PLAIN, Repulsion, Slots
from vismem.drawing.scan import Guidance, draw
from vismem.drawing.solvers import Euler
from vismem.errors import UserError
from vismem.models.generator import Carry, MemoryConfig

TEXTS = ["a", "a", "bb"]


@pytest.fixture(scope="module")
def artist():
    return make_artist(0)


def program(artist, diversity, carry=None) -> str:
    """What drawing computes, written out."""

    def drawn(params):
        tokens, key = jnp.ones((3, 5), jnp.int32), jax.random.key(0)
        given = (artist.objective, params, tokens, key, Euler(2), Guidance())
        return draw(*given, carry=carry, diversity=diversity)[0]

    return re.sub(r"0x\w+", "", str(jax.make_jaxpr(drawn)(artist.params)))


@pytest.mark.parametrize("method", [CADS, Slots, Repulsion])
def test_strength_zero_is_the_program_of_plain_drawing_and_more_is_not(artist, method):
    plain = program(artist, PLAIN)
    assert program(artist, method(strength=0)) == plain
    assert program(artist, method(strength=1.0)) != plain


@pytest.mark.parametrize("method", [CADS, Slots])
def test_drawings_change_and_are_the_same_each_time(artist, method):
    plain = artist.draw(TEXTS, diversity=PLAIN).carry.estimate
    some, again = (artist.draw(TEXTS, diversity=method(1.0)).carry.estimate for _ in range(2))
    assert (some[:2] != plain[:2]).any()
    np.testing.assert_array_equal(again, some)


def pictures(count: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(count, 4, 4, 3)), jnp.float32)


# --- CADS ---------------------------------------------------------------------------------------


def test_cads_is_the_papers_formula():
    rng = np.random.default_rng(0)
    y, n = rng.normal(2, 3, (2, 5, 8)).astype(np.float32), rng.normal(size=(2, 5, 8))
    cads = CADS(strength=0.25, tau1=0.5, tau2=0.9, rescale=0.0)
    kept = (0.9 - 0.6) / (0.9 - 0.5)  # at time 0.4
    mixed = np.sqrt(kept) * y + 0.25 * np.sqrt(1 - kept) * y.std(-1, keepdims=True) * n
    np.testing.assert_allclose(cads.noised(y, n, jnp.array(0.4)), mixed, rtol=1e-5)
    whole = CADS(strength=0.25, tau1=0.5, tau2=0.9).noised(y, n, jnp.array(0.4))
    np.testing.assert_allclose(whole.mean(-1), y.mean(-1), atol=1e-4)
    np.testing.assert_allclose(whole.std(-1), y.std(-1), rtol=1e-4)


@pytest.mark.parametrize("rescale", [0.0, 1.0])
def test_cads_leaves_the_text_untouched_at_the_clean_end_and_nothing_of_it_at_the_noisy(rescale):
    y, n = pictures(2), pictures(2, seed=1)
    cads = CADS(strength=0.5, tau1=0.5, tau2=0.75, rescale=rescale)
    for time in (0.5, 0.75, 1.0):
        np.testing.assert_array_equal(cads.noised(y, n, jnp.array(time)), y)
    noise = cads.noised(y, n, jnp.array(0.25))
    for token, pure in zip(noise.reshape(-1, 3), n.reshape(-1, 3)):
        assert np.corrcoef(token, pure)[0, 1] == pytest.approx(1, abs=1e-4)


def test_branches_of_a_drawing_read_the_same_noise_and_one_without_text_reads_none(artist):
    tokens = jnp.array([[3, 4, 0], [5, 6, 7]])
    tokens = jnp.concatenate([tokens, 0 * tokens, tokens])  # full, no text, no memory
    before = jnp.zeros((6, SIZE, SIZE, 4))
    given = (artist.objective, artist.params, tokens, before, 3)
    key = jax.random.key(0)

    def context(method, time):
        return jax.jit(lambda: method.contexts(*given)(jnp.array(time), key))()

    plain, noisy = context(PLAIN, 0.0), context(CADS(), 0.0)
    noisy_keys, keys = (  # of the tokens that are attended to
        jnp.where(c.mask[:, None, None, :, None], c.key_values[0], 0) for c in (noisy, plain)
    )
    full, no_text, no_memory = jnp.split(noisy_keys, 3)
    close = partial(np.testing.assert_allclose, atol=1e-6)
    close(full, no_memory)
    close(no_text, keys[2:4])
    moved = jnp.abs(full - keys[:2]).max((1, 2, 4)) > 1e-3
    np.testing.assert_array_equal(moved, plain.mask[:2].at[:, 0].set(False))  # not the text's own
    np.testing.assert_array_equal(noisy.mask, plain.mask)
    jax.tree.map(close, context(CADS(), 1.0), plain)


# --- slots --------------------------------------------------------------------------------------


def test_every_drawing_has_slots_of_its_own_as_large_as_they_were():
    first = np.random.default_rng(0).normal(0.3, 2, (1, 5, 64)).astype(np.float32)
    carry = Carry(jnp.tile(first, (3, 1, 1)), pictures(3))
    own = Slots(1.0).begin(carry, jax.random.key(0))
    np.testing.assert_allclose(own.memory.mean(-1), carry.memory.mean(-1), atol=1e-5)
    np.testing.assert_allclose(own.memory.std(-1), carry.memory.std(-1), rtol=1e-4)
    assert jnp.abs(own.memory[0] - own.memory[1]).mean() > 0.1
    np.testing.assert_array_equal(own.estimate, carry.estimate)
    np.testing.assert_array_equal(own.memory, Slots(1.0).begin(carry, jax.random.key(0)).memory)
    assert (own.memory != Slots(1.0).begin(carry, jax.random.key(1)).memory).all()


def test_slots_leave_the_memory_of_a_conversation_alone(artist):
    carry = artist.draw(TEXTS).carry
    assert program(artist, Slots(9.0), carry) == program(artist, PLAIN, carry)


# --- repulsion ----------------------------------------------------------------------------------


def changes(x: jax.Array, texts: list[int], time: float = 0.25, **options) -> np.ndarray:
    """What repulsion adds to estimates."""
    repulsion = Repulsion(**options)
    tokens = jnp.array(texts)[:, None]
    return np.asarray(repulsion.spread(x, tokens, jnp.array(time), show=lambda y: y) - x)


def test_repulsion_is_the_hand_formula():
    x, texts, strength, time = pictures(5), [1, 1, 2, 1, 2], 0.8, 0.25
    expected = np.zeros(x.shape)
    for text in (1, 2):
        rows = [i for i, other in enumerate(texts) if other == text]
        pairs = [(i, j) for i in rows for j in rows if i != j]
        squared = {(i, j): float(jnp.square(x[i] - x[j]).sum()) for i, j in pairs}
        width = np.mean(list(squared.values())) / np.log(len(rows))
        for i, j in pairs:
            expected[i] += np.exp(-squared[i, j] / width) * np.asarray(x[i] - x[j])
    expected *= strength * (1 - time)
    found = changes(x, texts, time, strength=strength)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # The same through features that are the estimates.
    features = changes(x, texts, time, strength=strength, features=lambda y: y)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_repulsion_knows_no_unit_and_is_gone_at_the_clean_end():
    x = pictures(4)
    np.testing.assert_allclose(changes(9 * x, [1] * 4), 9 * changes(x, [1] * 4), rtol=1e-3)
    on_features = changes(x, [1] * 4, features=lambda y: 9 * y)
    np.testing.assert_allclose(on_features, changes(x, [1] * 4), rtol=1e-3)
    assert not changes(x, [1] * 4, time=1.0).any()
    assert not changes(x, [1, 2, 3, 4]).any()


def test_features_drive_apart_what_they_see():
    """Of a feature that is the brightness, only brightness changes."""
    x = pictures(3)
    found = changes(x, [1] * 3, features=lambda y: y.mean((1, 2, 3), keepdims=True))
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found - found.mean((1, 2, 3), keepdims=True), 0, atol=1e-6)


def test_estimates_that_are_nearly_equal_are_driven_apart():
    x = pictures(1) + 1e-3 * pictures(2, seed=1)
    moved = x + changes(x, [1, 1], strength=1.0)
    assert jnp.abs(moved[0] - moved[1]).mean() > 1.3 * jnp.abs(x[0] - x[1]).mean()


def test_drawings_of_a_text_are_driven_apart_and_not_by_what_fills_up_a_batch(artist):
    texts = ["a"] * 129  # the last is alone in its batch
    plain, apart = (artist.draw(texts, diversity=d).carry.estimate for d in (PLAIN, Repulsion(2.0)))
    assert apart[:128].std(0).mean() > 1.1 * plain[:128].std(0).mean()
    np.testing.assert_allclose(apart[128], plain[128], atol=1e-5)


# --- mistakes -----------------------------------------------------------------------------------


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"drawing\.diversity\.name.*did you mean 'cads'"):
        DrawConfig(diversity={"name": "cad"})
    with pytest.raises(UserError, match="strength=-1"):
        DrawConfig(diversity={"name": "slots", "strength": -1})
    with pytest.raises(UserError, match=r"tau1=0\.9, tau2=0\.5"):
        CADS(tau1=0.9, tau2=0.5)


@pytest.mark.parametrize(
    ("method", "model", "said"),
    [
        (Slots(), {"memory": MemoryConfig(enabled=False)}, "slots: the run has no memory"),
        (CADS(), {"causal": True}, "cads: changes the text at every step"),
    ],
)
def test_what_cannot_change_a_model_says_so(artist, method, model, said):
    method.check(artist.objective)
    other = copy.copy(artist.objective)
    other.generator = other.generator.clone(**model)
    with pytest.raises(UserError, match=said):
        method.check(other)
    Repulsion().check(other)
