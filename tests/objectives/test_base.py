"""Steps of a chain: a loop, or laid out one by one."""

import jax
import jax.numpy as jnp
import numpy as np

from vismem.objectives.base import scan

GIVEN = {"times": jnp.arange(3.0), "rows": jnp.arange(6.0).reshape(3, 2)}


def step(carry, now):
    carry = 0.5 * carry + now["times"] * now["rows"]
    return carry, {"sum": carry.sum()}


def test_laid_out_steps_are_those_of_a_loop():
    looped, found = scan(step, jnp.ones(2), GIVEN, loop=True)
    laid_out, the_same = scan(step, jnp.ones(2), GIVEN, loop=False)
    np.testing.assert_array_equal(laid_out, looped)
    np.testing.assert_array_equal(the_same["sum"], found["sum"])


def test_no_loop_is_left_of_steps_laid_out():
    for loop in (True, False):
        traced = jax.make_jaxpr(lambda first, loop=loop: scan(step, first, GIVEN, loop))(
            jnp.ones(2)
        )
        assert ("scan" in str(traced)) == loop
