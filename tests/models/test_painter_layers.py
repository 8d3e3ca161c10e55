"""However the painter's blocks are run, they compute the same; and what a patch shows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.models.layers import RelativeBias
from vismem.models.painter import Painter

B, P, K, N, D, LAYERS = 2, 4, 3, 5, 16, 3


def painter(**options):
    return Painter(D, LAYERS, heads=2, outputs=6, pixels=2, **options)


@pytest.fixture(scope="module")
def inputs():
    keys = jax.random.split(jax.random.key(0), 4)
    patches, slots, text, condition = (
        jax.random.normal(key, shape)
        for key, shape in zip(keys, ((B, P, D), (B, K, D), (B, N, D), (B, D)))
    )
    return patches, slots, text, jnp.arange(N) < jnp.array([[N], [2]]), condition


def run(module, patches, slots, text, mask, condition):
    return module(patches, slots, module.read_text(text), mask, condition)


@pytest.fixture(scope="module")
def params(inputs):
    params = painter().init(jax.random.key(1), *inputs, method=run)["params"]
    # What starts at zero would hide what a block does.
    noise = lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape)  # noqa: E731
    return jax.tree.map(noise, params)


def value_and_gradient(params, inputs, **options):
    def loss(params):
        outputs, _, slots = painter(**options).apply({"params": params}, *inputs, method=run)
        return jnp.square(outputs).mean() + jnp.square(slots).mean()

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize(
    "options", [{"scan": True}, {"remat": "dots"}, {"scan": True, "remat": "full"}]
)
def test_same_value_and_gradient(params, inputs, options):
    expected, found = (value_and_gradient(params, inputs, **o) for o in ({}, options))
    jax.tree.map(
        lambda e, f: jnp.allclose(e, f, rtol=1e-4, atol=1e-5).item() or pytest.fail(str(e - f)),
        expected,
        found,
    )


def test_a_block_keeps_what_its_policy_says(params, inputs):
    """Products of a gradient: with nothing kept, each block's forward products come again."""
    from vismem.training.flops import matmul_flops

    def flops(**options):
        return matmul_flops(lambda p: value_and_gradient(p, inputs, **options), params)

    none, dots, full = (flops(scan=True, remat=remat) for remat in ("none", "dots", "full"))
    assert none < dots < full < 4 / 3 * none


@pytest.mark.parametrize("palette", [1, 2, 3])
def test_a_patch_is_a_mixture_of_its_colors(inputs, palette):
    module = Painter(D, LAYERS, heads=2, outputs=18, pixels=6, palette=palette)
    params = module.init(jax.random.key(1), *inputs, method=run)["params"]
    fresh, *_ = module.apply({"params": params}, *inputs, method=run)
    assert not fresh.any()
    noise = lambda x: x + jax.random.normal(jax.random.key(x.size), x.shape)  # noqa: E731
    params = jax.tree.map(noise, params)
    params["output"] = jax.tree.map(jnp.zeros_like, params["output"])
    shown, *_ = module.apply({"params": params}, *inputs, method=run)
    # Mixtures of two colours lie on a line, of three in a plane.
    pixels = shown.reshape(B, P, 6, 3)
    spread = jnp.linalg.svd(pixels - pixels.mean(2, keepdims=True), compute_uv=False)
    assert (spread[..., palette - 1 :] < 1e-4).all()
    assert (spread[..., : palette - 1] > 1e-2).all()


def test_colors_are_mixed_by_a_softmax_however_large_its_logits(inputs):
    module, painted = Painter(D, LAYERS, heads=2, outputs=18, pixels=6, palette=3), inputs[0]
    params = nn.unbox(module.init(jax.random.key(1), *inputs, method=run)["params"])
    normal = lambda x: jax.random.normal(jax.random.key(x.size), x.shape)  # noqa: E731
    params = jax.tree.map(normal, params)
    params["shares"]["bias"] = 200 + params["shares"]["bias"]  # the exponential of it overflows

    def mixed(params, painted):
        return module.apply({"params": params}, painted, method=Painter._mixed)

    def reference(params, painted):
        shares, colors = (painted @ p["kernel"] + p["bias"] for p in (params[n] for n in names))
        shares = jax.nn.softmax(shares.reshape(B, P, 6, 3))
        return jnp.einsum("bpik,bpkc->bpic", shares, colors.reshape(B, P, 3, 3)).reshape(B, P, 18)

    names, weight = ("shares", "colors"), jax.random.normal(jax.random.key(2), (B, P, 18))
    np.testing.assert_allclose(mixed(params, painted), reference(params, painted), atol=1e-4)
    ours, theirs = (
        jax.grad(lambda p, of=of: (weight * of(p, painted)).sum())(params)
        for of in (mixed, reference)
    )
    for name in names:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), ours[name], theirs[name]
        )


def test_relative_bias_is_a_number_for_every_offset_and_head():
    heads, grid = 2, 3
    table = jax.random.normal(jax.random.key(0), (heads, (2 * grid - 1) ** 2))
    bias = RelativeBias(heads).apply({"params": {"table": table}}, grid**2)
    by_offset = table.reshape(heads, 2 * grid - 1, 2 * grid - 1)
    for i, j in np.ndindex(grid**2, grid**2):
        down, across = (a - b + grid - 1 for a, b in zip(divmod(i, grid), divmod(j, grid)))
        np.testing.assert_array_equal(bias[:, i, j], by_offset[:, down, across])
