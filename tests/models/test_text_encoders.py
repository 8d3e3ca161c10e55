"""The classic text encoders: what must hold whatever they have learned."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models import TEXT
from vismem.models.text import vectors
from vismem.models.text.ngrams import HashedNgrams, mix
from vismem.models.text.recurrent import GRU, LSTM, RNN
from vismem.registry import build

WORDS = 20
ENCODERS = {
    "transformer": {"heads": 2},
    "ngrams": {},
    "vectors": {},
    "rnn": {},
    "rnn both ways": {"bidirectional": True},
    "lstm both ways": {"bidirectional": True},
    "lstm both ways, two layers": {"bidirectional": True, "layers": 2},
    "gru": {"layers": 2},
    "gru both ways": {"bidirectional": True},
}


def encoder(label, dtype=jnp.float32):
    choice = {"name": label.split()[0], "width": 8, **ENCODERS[label]}
    return build(TEXT, choice, "text", vocab_size=WORDS, dtype=dtype)


def initialised(module, tokens):
    return nn.unbox(jax.jit(module.init)(jax.random.key(0), tokens))


def apply(module, params, tokens):
    return jax.jit(module.apply)(params, tokens)


TOKENS = jnp.array([[3, 5, 2, 7], [4, 4, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("label", ENCODERS)
def test_padding_never_changes_features(label):
    module = encoder(label)
    params = initialised(module, TOKENS)
    features, mask = apply(module, params, TOKENS)
    padded, longer = apply(module, params, jnp.pad(TOKENS, ((0, 0), (0, 3))))
    np.testing.assert_array_equal(mask, TOKENS > 0)
    np.testing.assert_array_equal(longer, jnp.pad(TOKENS, ((0, 0), (0, 3))) > 0)
    np.testing.assert_allclose(padded[:, :4][mask], features[mask], atol=1e-6)
    assert bool(jnp.isfinite(features).all())


@pytest.mark.parametrize("label", ENCODERS)
def test_half_precision_is_close(label):
    params = initialised(encoder(label), TOKENS)
    features, mask = apply(encoder(label), params, TOKENS)
    half, _ = apply(encoder(label, jnp.bfloat16), params, TOKENS)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half[mask].astype(jnp.float32), features[mask], atol=0.1)


def sensitivity(module, params, tokens):
    """[L, L]: whether the feature at i changes with the token at j."""
    length = tokens.shape[1]
    changed = jnp.where(jnp.eye(length, dtype=bool), 1, tokens)
    base, *rows = apply(module, params, jnp.concatenate([tokens, changed]))[0]
    return np.abs(np.stack(rows) - base).max(-1).T > 1e-6


@pytest.mark.parametrize("cell", [RNN, LSTM, GRU])
def test_recurrence_goes_one_way_or_both(cell):
    tokens = jnp.array([[3, 5, 2, 7, 6]])
    past = np.tril(np.ones((5, 5), bool))
    for bidirectional, reach in ((False, past), (True, past | past.T)):
        module = cell(vocab_size=WORDS, width=8, bidirectional=bidirectional)
        params = initialised(module, tokens)
        np.testing.assert_array_equal(sensitivity(module, params, tokens), reach)


@pytest.mark.parametrize("cell", [RNN, LSTM, GRU])
def test_the_backward_direction_reads_the_text_reversed(cell):
    """Exchanging the directions' parameters and reversing the text reverses the features."""
    module = cell(vocab_size=WORDS, width=8, bidirectional=True)
    tokens = jnp.array([[3, 5, 2, 7, 0, 0]])
    params = initialised(module, tokens)["params"]
    swapped = {**params, "forward_0": params["backward_0"], "backward_0": params["forward_0"]}
    swapped["norm"] = jax.tree.map(lambda x: jnp.roll(x, 4), params["norm"])
    run = jax.jit(module.apply)
    features = run({"params": params}, tokens)[0][0, :4]
    mirrored = run({"params": swapped}, jnp.array([[7, 2, 5, 3, 0, 0]]))[0][0, :4]
    np.testing.assert_allclose(jnp.roll(mirrored[::-1], 4, axis=-1), features, atol=1e-5)


def test_ngrams_see_as_far_as_the_longest():
    tokens = jnp.array([[3, 5, 2, 7, 6]])
    for longest in (1, 3):
        module = HashedNgrams(width=8, longest=longest)
        params = initialised(module, tokens)
        reach = np.tril(np.ones((5, 5), bool)) & ~np.tril(np.ones((5, 5), bool), -longest)
        np.testing.assert_array_equal(sensitivity(module, params, tokens), reach)


def test_ngrams_are_the_same_wherever_they_stand():
    module = HashedNgrams(width=8)
    params = initialised(module, TOKENS)
    features, _ = apply(module, params, jnp.array([[9, 3, 5, 2], [3, 5, 2, 9], [9, 9, 5, 2]]))
    np.testing.assert_allclose(features[0, 3], features[1, 2], atol=1e-6)
    assert float(jnp.abs(features[0, 3] - features[2, 3]).max()) > 0.1


def test_the_hash_spreads():
    counts = np.bincount(np.asarray(mix(jnp.arange(100_000, dtype=jnp.uint32)) % 1000))
    assert len(counts) == 1000
    assert 85 < counts.var() < 115  # of a fair throw: 99.9
    assert len(np.unique(np.asarray(mix(jnp.arange(100_000, dtype=jnp.uint32))))) == 100_000


GLOVE = "the 1 2 3\n. . . 4 5 6\nred 7 8 9.5\n"


@pytest.mark.parametrize("text", [GLOVE, "3 3\n" + GLOVE.replace("\n", " \n")])
def test_files_of_glove_and_word2vec(tmp_path, text):
    file = tmp_path / "vectors.txt"
    file.write_text(text)
    ids, rows = vectors.read(str(file), 3, {".": 1, "red": 7, "green": 2, "the": 4})
    assert dict(zip(ids.tolist(), rows.tolist())) == {4: [1, 2, 3], 7: [7, 8, 9.5]}


@pytest.mark.parametrize(
    ("text", "width", "said"),
    [
        (GLOVE, 4, r"text\.width=4: .* has 3 numbers a word"),
        ("2 5\nthe 1 2 3 4 5\n", 3, r"text\.width=3: .* has 5 numbers"),
        ("the 1 2 3\nred 1 2\n", 3, r"line 2: expected a word and 3 numbers"),
        ("the 1 2 3\nred 1 2 x\n", 3, r"line 2: expected"),
        ("the 1 2 3\nred 1 nan 3\n", 3, r"vectors\.txt, line 2: 'red' has a number that is not"),
        ("the 1 2 -inf\nred 1 2 3\n", 3, r"vectors\.txt, line 1: 'the' has a number"),
        ("The 1 2 3\n", 3, r"none of the tokenizer's 2 words"),
        ("", 3, r"none of the tokenizer's"),
    ],
)
def test_files_that_are_no_vectors(tmp_path, text, width, said):
    file = tmp_path / "vectors.txt"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        vectors.read(str(file), width, {"the": 1, "red": 2})
    with pytest.raises(UserError, match="no such file"):
        vectors.read(str(tmp_path / "none"), width, {})


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"text\.width=9"):
        initialised(GRU(vocab_size=9, width=9, bidirectional=True), TOKENS)
    with pytest.raises(UserError, match=r"text\.buckets=0"):
        initialised(HashedNgrams(buckets=0), TOKENS)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        *((name, "width", 0) for name in ("ngrams", "vectors", "rnn", "lstm", "gru")),
        *(("lstm", "width", -8), ("gru", "layers", -1)),
        *(("transformer", "layers", 0), ("transformer", "heads", 0)),
    ],
)
def test_sizes_below_one_are_named(name, option, value):
    module = build(TEXT, {"name": name, option: value}, "text", vocab_size=WORDS)
    with pytest.raises(UserError, match=rf"text\.{option}={value}: must be at least 1"):
        jax.eval_shape(module.init, jax.random.key(0), TOKENS)
