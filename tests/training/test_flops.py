import jax
import jax.numpy as jnp
import pytest
from jax import lax

from vismem.training.flops import matmul_flops

A, B = jnp.zeros((3, 4)), jnp.zeros((4, 5))
ONE = 2 * 3 * 4 * 5


def scanned(a, b):
    return lax.scan(lambda c, _: (c, a @ b), 0, None, length=7)[1]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (jnp.matmul, ONE),
        (lambda a, b: jnp.einsum("nij,njk->nik", jnp.stack([a, a]), jnp.stack([b, b])), 2 * ONE),
        (jax.jit(jnp.matmul), ONE),
        (jax.checkpoint(jnp.matmul), ONE),
        (scanned, 7 * ONE),
        (jax.checkpoint(scanned), 7 * ONE),
        (lambda a, b: lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: jnp.zeros((3, 5))), ONE),
        (lambda a, b: jnp.tanh(a).sum() + b.sum(), 0),
    ],
)
def test_products_are_counted_as_often_as_they_run(function, expected):
    assert matmul_flops(function, A, B) == expected


def test_a_gradient_takes_three_times_the_forward_pass():
    # As train_flops has it: the product itself, and one for each of its factors.
    gradient = jax.value_and_grad(lambda a, b: jnp.square(a @ b).sum(), argnums=(0, 1))
    assert matmul_flops(gradient, A, B) == 3 * ONE


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(groups):
    x, k = jnp.zeros((2, 8, 8, 4)), jnp.zeros((3, 3, 4 // groups, 6))

    def convolve(x, k):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, k, (2, 2), "SAME", dimension_numbers=dimensions, feature_group_count=groups
        )

    assert matmul_flops(convolve, x, k) == 2 * (2 * 4 * 4 * 6) * (3 * 3 * 4 // groups)


def test_agrees_with_xla_where_nothing_is_scanned():
    def mlp(a, b):
        return jnp.maximum(a @ b, 0) @ b.T

    x, y = jnp.zeros((64, 128)), jnp.zeros((128, 256))
    ours = matmul_flops(mlp, x, y)
    theirs = jax.jit(mlp).lower(x, y).compile().cost_analysis()["flops"]
    assert ours == pytest.approx(theirs, rel=0.01)
