"""Encoders, fusion, memory and painter: what must hold whatever they have learned."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.fusion import AttentionFusion, ConcatFusion, CrossmodalFusion, pool
from vismem.models.generator import Generator, MemoryConfig, PainterConfig, StrategyConfig
from vismem.models.layers import MIXED, add_bias, attend, normalize, sincos_2d
from vismem.models.memory import Memory
from vismem.models.text.transformer import TextTransformer
from vismem.models.vision.stems import (
    ConvStem,
    PatchStem,
    check_patch,
    from_patches,
    to_patches,
)
from vismem.parallel import rules


def initialised(module, *args, **kwargs):
    return nn.unbox(
        jax.jit(module.init, static_argnames=tuple(kwargs))(jax.random.key(0), *args, **kwargs)
    )


def noise(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def test_padding_never_changes_text_features():
    model = TextTransformer(vocab_size=9, width=8, layers=2, heads=2)
    short = jnp.array([[3, 5, 2]])
    padded = jnp.pad(short, ((0, 0), (0, 4)))
    params = initialised(model, padded)
    features, mask = model.apply(params, padded)
    alone, _ = model.apply(params, short)
    np.testing.assert_allclose(features[:, :3], alone, atol=1e-6)
    np.testing.assert_array_equal(mask[0], [1, 1, 1, 0, 0, 0, 0])


def test_patches_come_back():
    image = noise(2, 8, 12, 3)
    patches = to_patches(image, 4)
    assert patches.shape == (2, 6, 48)
    np.testing.assert_array_equal(patches[0, 1], image[0, :4, 4:8].ravel())
    np.testing.assert_array_equal(from_patches(patches, 4, (2, 3)), image)


@pytest.mark.parametrize("stem", [PatchStem, ConvStem])
def test_stems_give_a_vector_a_patch(stem):
    image = noise(2, 8, 8, 3)
    module = stem(patch=4, width=8)
    assert module.apply(initialised(module, image), image).shape == (2, 4, 8)


def test_attention_agrees_with_jax_and_its_weights_sum_to_one():
    q, k, v = noise(2, 2, 3, 4), noise(2, 2, 5, 4, seed=1), noise(2, 2, 5, 4, seed=2)
    mask = jnp.array([[1, 1, 0, 1, 1], [1, 0, 0, 0, 1]], bool)
    values, weights = attend(q, k, v, mask[:, None])
    turned = (x.swapaxes(1, 2) for x in (q, k, v))
    reference = jax.nn.dot_product_attention(*turned, mask=mask[:, None, None, :])
    np.testing.assert_allclose(values.swapaxes(1, 2), reference, atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert float(weights[0, :, :, 2].max()) == 0


def test_positions_of_cells_differ():
    positions = sincos_2d(4, 4, 32)
    gaps = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    assert gaps[~np.eye(16, dtype=bool)].min() > 0.5


def test_norm_is_in_float32_whatever_comes_in():
    x = (100 + noise(4, 64)).astype(jnp.bfloat16)
    y = normalize(x).astype(jnp.float32)
    assert normalize(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(y.mean(-1), 0, atol=0.02)
    np.testing.assert_allclose(y.std(-1), 1, atol=0.02)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.02)])
def test_norm_s_gradient_is_that_of_flax_s(dtype, tolerance):
    x, weight = 3 + 2 * noise(5, 7, 64), noise(5, 7, 64, seed=1)

    def gradient(norm, x):
        return jax.grad(lambda x: (weight * norm(x)).sum())(x).astype(jnp.float32)

    reference = nn.LayerNorm(use_scale=False, use_bias=False, use_fast_variance=False)
    expected = gradient(lambda x: reference.apply({}, x), x)
    found = gradient(normalize, x.astype(dtype))
    np.testing.assert_allclose(found, expected, atol=tolerance * jnp.abs(expected).max())


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("rows", [(), (6,), (300, 7)])
def test_a_bias_s_gradient_is_the_sum_over_all_rows(platform, dtype, rows, monkeypatch):
    """Also where products are rounded, which is not for sums."""
    monkeypatch.setattr(rules, "platform", lambda: platform)
    x, weight = (noise(*rows, 8, seed=seed).astype(dtype) for seed in (0, 1))
    bias = noise(8, seed=2).astype(dtype)
    np.testing.assert_array_equal(add_bias(x, bias), x + bias)
    with jax.default_matmul_precision(MIXED):
        loss = lambda x, bias: (weight * add_bias(x, bias)).sum()  # noqa: E731
        gradient = jax.grad(loss, (0, 1))
        to_x, to_bias = gradient(x, bias)
        assert MIXED not in str(jax.make_jaxpr(gradient)(x, bias))
    np.testing.assert_array_equal(to_x, weight)
    assert to_bias.dtype == dtype
    numbers = np.asarray(weight, np.float64).reshape(-1, 8)
    expected = numbers.sum(0)
    sums, result = 1e-6 * np.abs(numbers).sum(0), float(jnp.finfo(dtype).eps) * np.abs(expected)
    assert (np.abs(np.asarray(to_bias, np.float64) - expected) < sums + result).all()


@pytest.mark.parametrize("fusion", [AttentionFusion, ConcatFusion, CrossmodalFusion])
def test_fusions_ignore_padding_and_bear_an_empty_text(fusion):
    module, patches = fusion(width=8), noise(2, 4, 8)
    text, mask = noise(2, 5, 6), jnp.array([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)

    def run(module, text):
        tokens, exists, vector = module.prepare(text, mask)
        return jnp.where(exists[..., None], tokens, 0), module(vector, patches)

    params = nn.unbox(module.init(jax.random.key(0), text, method=run))
    other = jnp.where(mask[..., None], text, 7.0)
    for ours, theirs in zip(
        module.apply(params, text, method=run), module.apply(params, other, method=run)
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert bool(jnp.isfinite(ours).all())
    np.testing.assert_array_equal(pool(text, mask)[1], 0)


@pytest.mark.parametrize("update", ["gated", "gru", "residual"])
def test_memory_is_a_set_of_slots(update):
    """f treats slots alike: permuting them permutes what comes out."""
    memory = Memory(slots=4, width=8, heads=2, update=update)
    slots, seen, mask = noise(2, 4, 8), noise(2, 6, 8, seed=1), jnp.ones((2, 6), bool)
    params = initialised(memory, slots, seen, mask)
    order = jnp.array([2, 0, 3, 1])
    after, looked = memory.apply(params, slots, seen, mask)
    permuted, looked_permuted = memory.apply(params, slots[:, order], seen, mask)
    np.testing.assert_allclose(permuted, after[:, order], atol=1e-5)
    np.testing.assert_allclose(looked_permuted, looked[:, order], atol=1e-5)


@pytest.mark.parametrize("update", ["gated", "gru", "residual"])
def test_slots_keep_their_size(update):
    """However large they enter, and however much is written back."""
    memory = Memory(slots=4, width=8, heads=2, update=update)
    slots, seen, mask = 9 * noise(2, 4, 8), noise(2, 6, 8, seed=1), jnp.ones((2, 6), bool)

    def run(memory, slots):
        updated, _ = memory(slots, seen, mask)
        return updated, memory.write(updated, slots)

    params = nn.unbox(memory.init(jax.random.key(0), slots, method=run))
    params["params"]["write_back"]["kernel"] = 9 * noise(8, 8, seed=2)
    for after in memory.apply(params, slots, method=run):
        np.testing.assert_allclose(after.mean(-1), 0, atol=1e-5)
        np.testing.assert_allclose(after.std(-1), 1, atol=1e-3)


def test_slots_with_places_see_their_patch_and_the_text():
    """3 patches, 2 words; 2 slots roam, 3 have places."""
    memory = Memory(slots=2, width=8, heads=2, places=3)
    slots, seen, mask = noise(1, 5, 8), noise(1, 5, 8, seed=1), jnp.ones((1, 5), bool)
    params = initialised(memory, slots, seen, mask)
    before, looked = memory.apply(params, slots, seen, mask)
    assert looked.shape == (1, 2, 5)

    def moved(token):
        other = seen.at[:, token, 0].add(1.0)
        after, _ = memory.apply(params, slots, other, mask)
        return np.abs(after - before).max((0, 2)) > 1e-6

    np.testing.assert_array_equal(moved(1), [True, True, False, True, False])
    np.testing.assert_array_equal(moved(4), [True] * 5)


def test_memory_does_not_see_what_is_masked():
    memory = Memory(slots=2, width=8, heads=2)
    slots, seen = noise(1, 2, 8), noise(1, 6, 8, seed=1)
    mask = jnp.array([[1, 1, 1, 1, 0, 0]], bool)
    params = initialised(memory, slots, seen, mask)
    other = seen.at[:, 4:].set(9.0)
    np.testing.assert_allclose(
        memory.apply(params, slots, seen, mask)[0],
        memory.apply(params, slots, other, mask)[0],
        atol=1e-6,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fusion", ["attention", "concat", "crossmodal"])
def test_a_generator_of_any_parts_takes_a_step(fusion, dtype):
    generator = Generator(
        text={"name": "transformer", "width": 12, "heads": 2, "layers": 1},
        vision={"name": "cnn"},
        fusion={"name": fusion},
        painter=PainterConfig(width=16, layers=1, heads=2, patch=4, palette=2, dtype=dtype),
        memory=MemoryConfig(slots=3),
        strategy=StrategyConfig(),
        vocab_size=9,
        size=8,
    )

    def run(model, tokens):
        carry = model.begin(2)
        return model.step(carry, carry.estimate, jnp.zeros(2), model.encode(tokens))

    tokens = jnp.array([[1, 2, 0], [0, 0, 0]])
    start = partial(generator.init_with_output, method=run)
    (memory, picture, attention), _ = jax.jit(start)(jax.random.key(0), tokens)
    assert memory.shape == (2, 3, 16)
    assert memory.dtype == jnp.float32
    assert picture.shape == (2, 8, 8, 3)
    assert picture.dtype == jnp.float32
    assert attention.shape == (2, 3, 4)
    assert bool(jnp.isfinite(memory).all())


def test_mistakes_in_sizes_are_named():
    with pytest.raises(UserError, match=r"painter\.patch=5"):
        check_patch(5, 32)
    with pytest.raises(UserError, match=r"painter\.width=130"):
        PainterConfig(width=130)
    with pytest.raises(UserError, match=r"painter\.palette=-1"):
        PainterConfig(palette=-1)
    with pytest.raises(UserError, match=r"memory\.slots=0"):
        MemoryConfig(slots=0)
    with pytest.raises(UserError, match=r"text\.width=8"):
        initialised(TextTransformer(vocab_size=9, width=8, heads=3), jnp.ones((1, 2), jnp.int32))
