"""Picture encoders: their parts against definitions, and what must hold for all of them."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.vision import resnet, vgg, vit
from vismem.models.vision.cnn import CNN
from vismem.models.vision.conv import ChannelNorm, as_features, max_pool
from vismem.models.vision.squeezenet import SqueezeNet, SqueezeNetClassifier
from vismem.models.vision.vgg import VGG, VGGClassifier, mean_pool_to
from vismem.models.vision.vit import ViT, resize_positions

TINY = dict(patch=4, width=12, layers=2, heads=3, hidden=20, size=16)
ENCODERS = {  # and how many class and register tokens they have
    "vit": (ViT(**TINY, registers=2, layer_scale=0.5, gated=True), 3),
    "vit attention": (ViT(**TINY, pool="attention"), 0),
    "resnet": (resnet.ResNet("bottleneck", (1, 1), (16, 24), stem=8, small=True), 0),
    "resnet batch": (resnet.ResNet("basic", (1, 1), (8, 12), stem=8, norm="batch"), 0),
    "vgg": (VGG(((4,), (6,))), 0),
    "squeezenet": (SqueezeNet("1.1", (2,) * 8), 0),
    "cnn": (CNN((8, 12)), 0),
}


def noise(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def parameters(module, *args):
    """Any numbers: an initialiser takes longer to compile than the module."""
    rng = np.random.default_rng(0)

    def draw(path, shape):
        values = rng.normal(0, 0.3, shape.shape).astype(np.float32)
        return np.abs(values) if path[-1].key == "variance" else values

    shapes = nn.unbox(jax.eval_shape(module.init, jax.random.key(0), *args))
    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_picture_has_features_of_its_own(name):
    """Shapes, and no picture of a batch says anything of another; nor need it be square."""
    module, count = ENCODERS[name]
    image = noise(3, 40, 32, 3)
    others = noise(3, 40, 32, 3, seed=1).at[1].set(image[1])
    params, run = parameters(module, image), jax.jit(module.apply)
    features, beside_others = run(params, image), run(params, others)
    tokens, pooled, extra = features
    assert pooled.shape == (3, tokens.shape[-1])
    assert extra.shape == (3, count, tokens.shape[-1])
    for one, two in zip(features, beside_others):
        np.testing.assert_allclose(one[1], two[1], atol=1e-5)
    assert float(jnp.abs(pooled[0] - beside_others.pooled[0]).max()) > 1e-4


def test_cells_come_in_row_order():
    x = noise(1, 2, 3, 4)
    np.testing.assert_array_equal(as_features(x).tokens[0, 1 * 3 + 2], x[0, 1, 2])


def test_scanned_layers_are_the_unrolled_ones():
    """The same parameters give the same features and gradients either way."""
    image = noise(2, 16, 16, 3)
    unrolled, scanned = (ViT(**TINY, layer_scale=0.5, scan=scan) for scan in (False, True))
    params = parameters(unrolled, image)
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes == jax.tree.map(jnp.shape, parameters(scanned, image))

    def loss(module):
        return lambda params: jnp.square(module.apply(params, image).tokens - 1).mean()

    one, two = (jax.jit(jax.value_and_grad(loss(m)))(params) for m in (unrolled, scanned))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, two)
    assert "while" in jax.jit(scanned.apply).lower(params, image).as_text()
    assert "while" not in jax.jit(unrolled.apply).lower(params, image).as_text()


def bicubic(table, rows, columns):
    """PyTorch's interpolate(mode="bicubic", align_corners=False), from its definition."""

    def weights(size, target):
        found = np.zeros((target, size))
        for i in range(target):
            at = (i + 0.5) * size / target - 0.5
            for j in range(math.floor(at) - 1, math.floor(at) + 3):
                x, a = abs(at - j), -0.75
                near = (a + 2) * x**3 - (a + 3) * x**2 + 1
                far = a * (x**3 - 5 * x**2 + 8 * x - 4)
                found[i, min(max(j, 0), size - 1)] += near if x <= 1 else far
        return found

    side = math.isqrt(len(table))
    square = np.asarray(table, np.float64).reshape(side, side, -1)
    resized = np.einsum("ih,hwd,jw->ijd", weights(side, rows), square, weights(side, columns))
    return resized.reshape(rows * columns, -1)


@pytest.mark.parametrize("grid", [(7, 9), (3, 4), (5, 5)])
def test_positions_are_resized_as_pytorch_does(grid):
    table = noise(25, 6)
    np.testing.assert_allclose(resize_positions(table, grid), bicubic(table, *grid), atol=1e-5)


def test_positions_are_resized_before_they_are_rounded():
    module = ViT(**TINY | dict(layers=1), pool="mean", norm_tokens=False, dtype=jnp.bfloat16)
    image = jnp.zeros((1, 24, 32, 3))
    params = jax.tree.map(jnp.zeros_like, parameters(module, image))["params"]
    params["positions"] = table = noise(16, 12)
    found = module.apply({"params": params}, image).tokens[0]
    expected = resize_positions(table, (6, 8)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(found, expected)  # and nothing else moves the patches here


def test_a_vit_leaves_out_what_no_whole_patch_covers():
    module, image = ENCODERS["vit"][0], noise(1, 19, 18, 3)
    params = parameters(module, image)
    run = jax.jit(module.apply)
    covered = run(params, image[:, :16, :16])
    jax.tree.map(np.testing.assert_array_equal, run(params, image), covered)
    with pytest.raises(UserError, match="hold no patch of 4 pixels"):
        module.apply(params, image[:, :3])


def test_published_numbers_of_parameters():
    """Of the papers and of torchvision; batch statistics, which ours count as parameters, are not
    in their count.
    """

    def count(module):
        params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
        flat = jax.tree_util.tree_leaves_with_path(params["params"])
        return sum(p.size for path, p in flat if path[-2].key not in ("mean", "variance"))

    def resnet_count(name):
        return count(resnet.ResNet(**resnet.variant(name), norm="batch"))

    assert count(ViT(**vit.variant("B/16"))) == 86_567_656 - 769_000
    assert resnet_count("18") == 11_689_512 - 513_000
    assert resnet_count("50") == 25_557_032 - 2_049_000
    for name, published in (("11", 132_863_336), ("16", 138_357_544)):
        encoder = VGG(**vgg.variant(name), norm=False)
        assert count(VGGClassifier(encoder, 4096, 1000)) == published
    assert count(SqueezeNetClassifier(SqueezeNet("1.0"), 1000)) == 1_248_424
    assert count(SqueezeNetClassifier(SqueezeNet("1.1"), 1000)) == 1_235_496


def test_variants_that_do_not_exist_are_named():
    with pytest.raises(UserError, match=r"unknown size 'X'.*known: B, G"):
        vit.variant("X/16")
    with pytest.raises(UserError, match="'B/16'"):
        vit.variant("B")
    with pytest.raises(UserError, match="unknown ResNet"):
        resnet.variant("51")
    with pytest.raises(UserError, match="unknown VGG"):
        vgg.variant("12")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (ViT(**TINY | dict(patch=0)), r"vision\.patch=0: must be at least 1"),
        (ViT(**TINY | dict(heads=0)), r"vision\.heads=0: must be at least 1"),
        (CNN((8, 0)), r"vision\.widths=\(8, 0\): must be at least 1"),
        (VGG(((4,), (6, -1))), r"vision\.stages=\(\(4,\), \(6, -1\)\): must be at least 1"),
        (resnet.ResNet("basic", (1, 1), (8, 12), stem=0), r"vision\.stem=0: must be at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_named(module, said):
    with pytest.raises(UserError, match=said):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def test_a_stage_without_depth_or_width_is_named():
    module = resnet.ResNet("basic", (1, 1), (8,))
    said = r"vision\.depths=\[1, 1\] and vision\.widths=\[8\]: must be equally long"
    with pytest.raises(UserError, match=said):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def test_frozen_batch_norm_is_its_formula_and_keeps_its_statistics():
    x = noise(2, 3, 3, 4)
    names = ("mean", "variance", "scale", "bias")
    params = {n: jnp.abs(noise(4, seed=i)) + 0.1 for i, n in enumerate(names)}

    def run(params):
        return ChannelNorm("batch").apply({"params": params}, x)

    expected = (x - params["mean"]) / np.sqrt(params["variance"] + 1e-5)
    np.testing.assert_allclose(
        run(params), expected * params["scale"] + params["bias"], rtol=1e-5, atol=1e-5
    )
    gradient = jax.grad(lambda p: jnp.square(run(p)).sum())(params)
    assert {n for n in names if np.any(gradient[n])} == {"scale", "bias"}


@pytest.mark.parametrize("channels", [8, 24, 64])
def test_group_norm_is_over_pixels_and_groups(channels):
    params = {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}
    y = ChannelNorm().apply({"params": params}, 3 + noise(2, 5, 6, channels))
    groups = y.reshape(2, 30, -1, min(channels, 16) if channels % 16 == 0 else channels)
    np.testing.assert_allclose(groups.mean((1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(groups.std((1, 3)), 1, atol=1e-3)


@pytest.mark.parametrize("size", [7, 8, 9])
def test_ceil_pooling_keeps_the_last_partial_window(size):
    x = np.asarray(noise(1, size, size, 1))
    expected = [
        [x[0, i : i + 3, j : j + 3].max() for j in range(0, size - 1, 2)]
        for i in range(0, size - 1, 2)
    ]
    found = max_pool(jnp.asarray(x), 3, 2, ceil=True)[0, :, :, 0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (2, 2, 0)])
def test_pooling_and_its_gradient_are_those_of_whole_windows(window, stride, padding):
    x, weight = noise(2, 9, 8, 3), jnp.arange(1, 4)
    pads = [(padding, padding)] * 2

    def whole(x):
        return nn.max_pool(x, (window, window), (stride, stride), pads)

    def found(x):
        return max_pool(x, window, stride, padding)

    np.testing.assert_array_equal(found(x), whole(x))
    by_found, by_whole = (jax.vjp(f, x)[1](weight * f(x)) for f in (found, whole))
    np.testing.assert_allclose(by_found, by_whole, rtol=1e-6)


@pytest.mark.parametrize(
    ("module", "size"), [(VGG(((4,),) * 3), 8), (SqueezeNet("1.1", (2,) * 8), 17)]
)
def test_pictures_too_small_to_pool_are_named(module, size):
    def run(size):
        image = jnp.zeros((1, size, size, 3))
        return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), image)[0])

    assert run(size).tokens.shape[1] == 1
    with pytest.raises(UserError, match=r"pictures are too small .* enlarge them \(data\.size"):
        run(1)


@pytest.mark.parametrize("size", [3, 7, 10])
def test_adaptive_pooling_is_the_mean_of_overlapping_windows(size):
    x = np.asarray(noise(1, size, 2 * size, 2))
    found = mean_pool_to(jnp.asarray(x), 7)
    edges = [[(i * n // 7, -(-(i + 1) * n // 7)) for i in range(7)] for n in (size, 2 * size)]
    for i, (top, bottom) in enumerate(edges[0]):
        for j, (left, right) in enumerate(edges[1]):
            window = x[0, top:bottom, left:right].mean((0, 1))
            np.testing.assert_allclose(found[0, i, j], window, atol=1e-6)
