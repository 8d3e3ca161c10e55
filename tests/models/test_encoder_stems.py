"""Encoders as the canvas's stem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem import registry
from vismem.errors import UserError
from vismem.models import VISION
from vismem.models.vision.pretrained import ENCODERS as ENCODER_TABLE
from vismem.models.vision.pretrained import PretrainedVision


def stem(name, patch, **options):
    choice = {"name": name, **options}
    return registry.build(VISION, choice, "vision", patch=patch, width=16, dtype=jnp.bfloat16)


@pytest.mark.parametrize("name", [name for name in VISION if name != "pretrained"])
@pytest.mark.parametrize("patch", [2, 8])
def test_any_stem_gives_a_vector_a_patch(name, patch):
    image = jax.ShapeDtypeStruct((2, 32, 16, 3), jnp.float32)
    module = stem(name, patch)
    found = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], image)
    assert found.shape == (2, 32 * 16 // patch**2, 16)
    assert found.dtype == jnp.bfloat16


ENCODERS = {
    "vit": {"patch": 4, "width": 8, "layers": 1, "heads": 2, "hidden": 16, "size": 24},
    "resnet": {"block": "basic", "depths": (1, 1), "widths": (8, 16), "stem": 4},
    "vgg": {"stages": ((4,), (8,))},
    "squeezenet": {},
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("size", [0, 48])
def test_a_pretrained_encoder_gives_a_vector_a_patch_whatever_its_cells(name, size):
    encoder = {"name": name, **ENCODERS[name]}
    module = stem("pretrained", 8, folder="x", encoder=encoder, size=size)
    image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    found = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], image)
    assert found.shape == (2, 16, 16)


def test_inception_wants_larger_pictures():
    encoder = {"name": "inception", "variant": "fid", "width": 2}
    image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

    def shape(size):
        module = stem("pretrained", 8, folder="x", encoder=encoder, size=size)
        return jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], image)

    assert shape(75).shape == (2, 16, 16)
    with pytest.raises(UserError, match="32 x 32 pixels are too small"):
        shape(0)


def test_what_a_pretrained_encoder_finds_is_where_it_is():
    encoder = {"name": "vgg", **ENCODERS["vgg"], "norm": False}
    module = stem("pretrained", 8, folder="x", encoder=encoder)
    image = jax.random.uniform(jax.random.key(0), (1, 32, 32, 3), minval=-1)
    variables = jax.jit(module.init)(jax.random.key(1), image)

    @jax.jit
    def found(image):  # beside the linear map of each patch
        blank = jax.tree.map(jnp.zeros_like, variables["params"]["patches"])
        return module.apply({"params": variables["params"] | {"patches": blank}}, image)

    changed = image.at[:, 18:22, 10:14].add(1.0)  # inside patch 9 of 4 x 4
    moved = np.abs(np.float32(found(changed) - found(image))).max(-1).reshape(4, 4)
    assert moved.argmax() == 9
    assert moved[0].max() == 0


def test_a_pretrained_encoder_gets_pictures_as_its_folder_says():
    encoder = {"name": "vit", **ENCODERS["vit"]}
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.4)
    module = PretrainedVision("x", encoder, mean, std)
    pixels = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3))
    features, variables = jax.jit(module.init_with_output)(jax.random.key(1), 2 * pixels - 1)
    inner = registry.build(ENCODER_TABLE, encoder, "encoder")
    scaled = (pixels - jnp.array(mean)) / jnp.array(std)
    reference = jax.jit(inner.apply)({"params": variables["params"]["module"]}, scaled)
    np.testing.assert_allclose(features.tokens, reference.tokens, atol=1e-5)
    with pytest.raises(UserError, match=r"vision\.folder='x': takes pictures of 3 channels, not 1"):
        module.init(jax.random.key(1), pixels[..., :1])


def test_mistakes_are_named():
    image = jnp.zeros((1, 36, 36, 3))
    for name in ("vgg", "resnet"):
        with pytest.raises(UserError, match=r"painter\.patch=6: must be a power of two"):
            jax.eval_shape(stem(name, 6).init, jax.random.key(0), image)
    with pytest.raises(UserError, match=r"heads=3: does not divide the width 16"):
        jax.eval_shape(stem("vit", 6, heads=3).init, jax.random.key(0), image)


@pytest.mark.parametrize(
    ("name", "option"),
    [("cnn", "channels"), ("vgg", "channels"), ("resnet", "channels"), ("vit", "heads")],
)
def test_sizes_below_one_are_named(name, option):
    module = stem(name, 4, **{option: 0})
    with pytest.raises(UserError, match=rf"vision\.{option}=0: must be at least 1"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
