"""Encoders as the canvas's stem."""

import jax
import jax.numpy as jnp
import pytest

from vismem import registry
from vismem.errors import UserError
from vismem.models import VISION


def stem(name, patch, **options):
    choice = {"name": name, **options}
    return registry.build(VISION, choice, "vision", patch=patch, width=16, dtype=jnp.bfloat16)


@pytest.mark.parametrize("name", VISION)
@pytest.mark.parametrize("patch", [2, 8])
def test_any_stem_gives_a_vector_a_patch(name, patch):
    image = jax.ShapeDtypeStruct((2, 32, 16, 3), jnp.float32)
    module = stem(name, patch)
    found = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], image)
    assert found.shape == (2, 32 * 16 // patch**2, 16)
    assert found.dtype == jnp.bfloat16


def test_mistakes_are_named():
    image = jnp.zeros((1, 36, 36, 3))
    for name in ("vgg", "resnet"):
        with pytest.raises(UserError, match=r"painter\.patch=6: must be a power of two"):
            jax.eval_shape(stem(name, 6).init, jax.random.key(0), image)
    with pytest.raises(UserError, match=r"heads=3: does not divide the width 16"):
        jax.eval_shape(stem("vit", 6, heads=3).init, jax.random.key(0), image)
