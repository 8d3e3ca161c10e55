"""Decoding against every text there is, on models whose logits depend on the whole text so far."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.decoding import Decoding, generate, nucleus

WORDS, LENGTH, ROWS = 4, 4, 3
STATES = 97


class Historian(nn.Module):
    """Logits are a row of a table, chosen by all tokens so far, which the cache sums up."""

    @nn.compact
    def decode(self, ids, features, features_mask, mask, position):
        state = self.variable("cache", "state", jnp.zeros, len(ids), jnp.int32)
        state.value = (5 * state.value + ids[:, 0] + 1) % STATES
        return features[jnp.arange(len(ids)), state.value][:, None]


FEATURES = 2 * np.random.default_rng(0).normal(size=(ROWS, STATES, WORDS)).astype(np.float32)


def texts(**options):
    decoding = Decoding(LENGTH, **options)
    make = jax.jit(lambda x, key: generate(Historian(), {}, x, None, decoding, key))
    return np.asarray(make(FEATURES, jax.random.key(0)))


def log_probability(text, table):
    """Of a text up to its end, the first 0, and how many tokens that is."""
    state, total, made = 1, 0.0, 0  # after the start, a 0
    for token in text:
        made += 1
        row = table[state].astype(np.float64)
        total += row[token] - np.log(np.exp(row).sum())
        state = (5 * state + token + 1) % STATES
        if token == 0:
            break
    return total, made


@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
def test_a_wide_beam_finds_the_best_of_all_texts(penalty):
    found = texts(beams=WORDS**LENGTH, length_penalty=penalty)
    for text, table in zip(found, FEATURES):
        ranks = {}
        for other in itertools.product(range(WORDS), repeat=LENGTH):
            total, made = log_probability(other, table)
            ranks[other[:made]] = total / ((5 + made) / 6) ** penalty
        best = max(ranks, key=ranks.get)
        assert tuple(text[: len(best)]) == best
        assert not text[len(best) :].any()


def test_a_beam_goes_on_from_the_texts_it_extends():
    """Between greedy and exhaustive: a narrow beam, followed by hand."""
    for text, table in zip(texts(beams=2, length_penalty=0.0), FEATURES):
        beam = [()]
        for _ in range(LENGTH):
            longer = {old if 0 in old else (*old, word) for old in beam for word in range(WORDS)}
            beam = sorted(longer, key=lambda t: -log_probability(t, table)[0])[:2]
        assert tuple(text[: len(beam[0])]) == beam[0]


def test_greedy_takes_the_likeliest_token():
    for text, table in zip(texts(), FEATURES):
        state = 1
        for token in text:
            assert token == table[state].argmax()
            if token == 0:
                break
            state = (5 * state + token + 1) % STATES


def test_random_texts_stay_in_the_nucleus():
    logits = jnp.log(jnp.array([0.1, 0.5, 0.05, 0.35]))
    kept = {p: np.isfinite(nucleus(logits, p)).tolist() for p in (0.4, 0.6, 0.9, 1.0)}
    assert kept == {
        0.4: [False, True, False, False],
        0.6: [False, True, False, True],
        0.9: [True, True, False, True],
        1.0: [True, True, True, True],
    }
    np.testing.assert_array_equal(texts(temperature=1.0, top_p=1e-6), texts())
    assert (texts(temperature=5.0) != texts()).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 0}, "length=0"),
        ({"beams": 0}, "beams=0"),
        ({"temperature": -1.0}, "temperature=-1"),
        ({"top_p": 0.0}, "top_p=0.0: must be above 0"),
        ({"top_p": 0.5}, "needs a temperature"),
        ({"beams": 2, "temperature": 1.0}, "a beam is not random"),
    ],
)
def test_mistakes_are_named(options, said):
    with pytest.raises(UserError, match=said):
        Decoding(**{"length": 3, **options})
