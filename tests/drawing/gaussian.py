"""A flow whose solution is known."""

import jax
import jax.numpy as jnp

from vismem.models.generator import Carry
from vismem.objectives.autoencode import Pixels
from vismem.objectives.flow import Flow


class Gaussian:
    """The flow of pictures ~ N(0, spread^2), whose best estimate and whose solution are known.

    E[picture | X_t] = t spread^2 X_t / v(t), with v(t) = t^2 spread^2 + (1 - t)^2 the variance of
    X_t; the flow maps noise to picture as X_1 = spread * X_0.
    """

    spread, chained, redraws, shape = 0.3, True, True, (1, 1, 1)
    velocity, advance, log_snr = Flow.velocity, Flow.advance, Flow.log_snr
    path, motion = Flow.path, Flow.motion
    renoise, refresh, settled = Flow.renoise, Flow.refresh, Flow.settled
    clip, picture = Flow.clip, Flow.picture
    prefill, check_drawing, codec = Flow.prefill, Flow.check_drawing, Pixels(1)
    text_dropout = 0.1

    def apply(self, params, *args, method):
        if method == "begin":
            return Carry(jnp.zeros((args[0], 0, 1)), jnp.zeros((args[0], *self.shape)))
        carry, picture, _ = args  # "remember"
        return carry.replace(estimate=picture)

    def encode(self, params, tokens, before):
        return tokens

    def converses(self, params):
        return False

    def start(self, key, shape):
        return jax.random.normal(key, shape)

    def step(self, params, carry, canvas, time, text):
        t, variance = time[:, None, None, None], self.spread**2
        estimate = t * variance * canvas / (t**2 * variance + (1 - t) ** 2)
        return carry.replace(estimate=estimate), jnp.zeros((len(canvas), 0, 1))
