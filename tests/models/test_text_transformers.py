"""The transformers that pretrained weights fill: padding, causality, scans, decoding."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.text.bert import Bert
from vismem.models.text.clip import TextTower
from vismem.models.text.gpt2 import GPT2
from vismem.models.text.llama import Llama, rotary_frequencies
from vismem.models.text.t5 import T5, PositionBias, T5Encoder, buckets, generate

SIZES = dict(vocab_size=23, width=12, layers=2, heads=3, hidden=16)
ENCODERS = {
    "bert": partial(Bert, **SIZES),
    "gpt2": partial(GPT2, **SIZES),
    "llama": partial(
        Llama,
        **SIZES,
        kv_heads=1,
        head_dim=4,
        frequencies=tuple(rotary_frequencies(4, 100.0).tolist()),
    ),
    "t5": partial(T5Encoder, **SIZES, head_dim=4),
    # Where the largest id ends a text: SigLIP's `pooled`, at the last position, counts padding.
    "clip": partial(TextTower, **SIZES, length=6, end=None, causal=True),
    "clip both ways": partial(TextTower, **SIZES, length=6, end=None),
}
IDS = jnp.array([[3, 5, 2, 7, 11, 13], [1, 2, 4, 0, 0, 0]])
MASK = IDS > 0


def parameters(module, *args):
    """Any numbers: an initialiser takes longer to compile than the module."""
    rng = np.random.default_rng(0)
    shapes = nn.unbox(jax.eval_shape(module.init, jax.random.key(0), *args))
    return jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape, np.float32), shapes)


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_changes_nothing_and_a_scan_is_the_same(name):
    module, scanned = ENCODERS[name](scan=False), ENCODERS[name](scan=True)
    params = parameters(module, IDS, MASK)
    features, again = jax.jit(
        lambda params: (module.apply(params, IDS, MASK), scanned.apply(params, IDS, MASK))
    )(params)
    for ours, theirs in zip(features, again):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    short = jax.jit(module.apply)(params, IDS[1:, :3])
    np.testing.assert_allclose(features.tokens[1, :3], short.tokens[0], atol=1e-5)
    np.testing.assert_allclose(features.pooled[1], short.pooled[0], atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_who_sees_what(name):
    """A decoder's token has a gradient to those up to itself, an encoder's to all."""
    module = ENCODERS[name]()
    params = parameters(module, IDS)["params"]
    [words] = params.keys() & {"words", "embed"}

    def third(table):
        table = params | {words: {"embedding": table}}
        return jnp.square(module.apply({"params": table}, IDS[:1]).tokens[0, 2, :4]).sum()

    gradient = jax.jit(jax.grad(third))(params[words]["embedding"])
    seen = np.abs(gradient[IDS[0]]).sum(-1) > 0
    causal = name in ("gpt2", "llama", "clip")
    np.testing.assert_array_equal(seen, [True] * 3 + [not causal] * 3)


def test_a_window_hides_what_is_far():
    module = ENCODERS["llama"](window=2, layers=1)
    params, run = parameters(module, IDS), jax.jit(module.apply)
    changed = run(params, IDS).tokens != run(params, IDS.at[:, 0].set(9)).tokens
    np.testing.assert_array_equal(changed.any((0, 2)), [True, True, False, False, False, False])


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_texts_longer_than_the_table_of_positions(name):
    with pytest.raises(UserError, match=r"texts of 6 tokens: .* takes 4 here"):
        ENCODERS[name](positions=4).init(jax.random.key(0), IDS)


def test_buckets_are_exact_nearby_and_logarithmic_beyond():
    """T5's own sizes: powers of two times the square root of two end a bucket."""
    found = buckets(16, 128)
    np.testing.assert_array_equal(found[:9], range(9))
    starts = [int(np.argmax(found == bucket)) for bucket in range(8, 16)]
    assert starts == [8, 12, 16, 23, 32, 46, 64, 91]
    assert found[-1] == 15
    assert buckets(2, 8).tolist() == [0] + 8 * [1]


def published(ahead, causal, count, max_distance):
    """T5Attention._relative_position_bucket of transformers in numpy; -1 where it has no bucket."""
    first = 0
    if not causal:
        count //= 2
        first = (ahead > 0) * count
        distance = np.abs(ahead)
    else:
        distance = -np.minimum(ahead, 0)
    exact = count // 2
    share = np.log(np.maximum(distance, exact).astype(np.float32) / np.float32(exact))
    share = share / np.float32(np.log(max_distance / exact)) * np.float32(count - exact)
    large = np.minimum(exact + share.astype(np.int64), count - 1)
    found = np.where(distance < exact, distance, large)
    return np.where(found < 0, -1, first + found)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("count", "max_distance"), [(32, 128), (32, 12), (32, 10), (64, 20), (8, 5), (8, 1)]
)
def test_buckets_are_those_of_the_published_formula(count, max_distance, causal):
    bias = PositionBias(1, count, max_distance, causal)
    places = np.arange(150)
    table = {"table": {"embedding": np.arange(count, dtype=np.float32)[:, None]}}
    found = np.asarray(bias.apply({"params": table}, places, places))[0, 0]
    expected = published(places[None] - places[:, None], causal, count, max_distance)
    np.testing.assert_array_equal(found[expected >= 0], expected[expected >= 0])
    assert (expected >= 0).mean() > 0.05


def test_as_many_exact_buckets_as_distances():
    np.testing.assert_array_equal(buckets(8, 4)[:4], range(4))
    assert ((buckets(8, 4) >= 0) & (buckets(8, 4) < 8)).all()


@pytest.fixture(scope="module")
def t5():
    module = T5(
        **SIZES, head_dim=4, decoder_layers=2, buckets=8, max_distance=5, tied=False, rescaled=False
    )
    init = jax.jit(lambda key: nn.unbox(module.init(key, IDS, IDS)["params"]))
    return module, init(jax.random.key(2))


def test_the_cache_gives_what_the_whole_text_does(t5):
    module, params = t5
    texts = jax.jit(lambda params: generate(module, params, IDS, MASK, length=8))(params)
    logits = jax.jit(module.apply)({"params": params}, IDS, texts, MASK)
    best = np.asarray(logits.argmax(-1))
    ends = [6, 8]  # the first text says the end token itself, after several others
    for text, following, end in zip(np.asarray(texts), best, ends):
        np.testing.assert_array_equal(text[1:end], following[: end - 1])
        assert len(set(text[1:end])) > 1
        assert not text[end:].any()
    assert texts[0, 5] == 1
    assert texts[:, 0].tolist() == [0, 0]


def test_sampled_texts_follow_the_logits(t5):
    """Of many texts, first tokens are as frequent as softmax(logits / temperature) says."""
    module, params = t5
    ids = jnp.broadcast_to(IDS[:1], (4_000, 6))
    sample = jax.jit(
        lambda key: generate(module, params, ids, length=2, temperature=2.0, key=key)[:, 1]
    )
    drawn = sample(jax.random.key(0))
    first = jnp.zeros((1, 1), jnp.int32)
    logits = jax.jit(module.apply)({"params": params}, IDS[:1], first)[0, 0]
    expected = np.asarray(jax.nn.softmax(logits / 2))
    found = np.bincount(drawn, minlength=23) / len(drawn)
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / len(drawn))
    assert expected.max() < 0.9
    np.testing.assert_array_equal(sample(jax.random.key(0)), drawn)
    assert (sample(jax.random.key(1)) != drawn).any()
