import jax
import jax.numpy as jnp
import pytest
from jax import lax

from vismem.training.flops import matmul_flops, train_flops
from vismem.training.optimizer import OptimizerConfig, make_optimizer

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


class Squares:
    """Players whose losses are functions of parameters "a" [4, 4] and "b" [4, 4] and a batch."""

    def __init__(self, *losses):
        self.losses = {f"player_{i}": loss for i, loss in enumerate(losses)}
        self.players = tuple(self.losses)

    def loss(self, player, params, batch, key, train=True):
        found = self.losses[player](params[player]["a"], params[player]["b"], batch)
        return jnp.square(found).sum(), {}


def chained(a, b, x):  # the second factor alone is carried
    return lax.scan(lambda c, _: (jnp.tanh(c @ b), x @ a), x, None, length=5)[0]


SQUARE = 2 * 3 * 4 * 4


@pytest.mark.parametrize(
    ("loss", "freeze", "expected"),
    [
        (lambda a, b, x: x @ a @ b, "", 2 + 3),  # nothing asks for the gradient of x
        (lambda a, b, x: jax.checkpoint(jax.jit(lambda y: y @ a @ b))(x), "", 2 + 3),
        (lambda a, b, x: x @ a @ b, "/a", 1 + 2),
        (lambda a, b, x: x @ a @ b, "/b", 2 + 2),
        (lambda a, b, x: lax.stop_gradient(x @ a) @ b, "", 2 + 2),
        (chained, "/a", 5 * (3 + 1)),
        (lambda a, b, x: lax.cond(x[0, 0] > 0, lambda: x @ a, lambda: x @ b @ b), "/a", 2 + 3),
    ],
)
def test_a_step_takes_a_product_more_for_each_factor_that_is_trained(loss, freeze, expected):
    params = {"player_0": {"a": jnp.zeros((4, 4)), "b": jnp.zeros((4, 4))}}
    rules = ((freeze + "$", True),) if freeze else ()
    optimizer = make_optimizer(OptimizerConfig(freeze=rules), params, 1)
    found = train_flops(Squares(loss), optimizer, params, jnp.zeros((3, 4)))
    assert found == expected * SQUARE


def test_a_step_of_a_dense_loss_takes_what_its_gradient_takes():
    """A hidden layer before and after; a product is written once however often it is needed."""
    loss = lambda a, b, x: jnp.tanh(jnp.tanh(x @ a) @ b) @ a  # noqa: E731
    params = {"player_0": {"a": jnp.zeros((4, 4)), "b": jnp.zeros((4, 4))}}
    objective, x = Squares(loss), jnp.zeros((3, 4))
    optimizer = make_optimizer(OptimizerConfig(), params, 1)
    gradient = jax.grad(lambda params: objective.loss("player_0", params, x, None)[0])
    assert train_flops(objective, optimizer, params, x) == matmul_flops(gradient, params)


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
