"""Why a chain: canvases that share their noise teach memory to cheat. A toy in two dimensions.

Two canvases of one picture with one noise, X = t p + (1 - t) n at two times, determine p. A memory
that carries the first to the second then needs to know nothing of pictures: its loss falls, and
what it draws, where nothing determines anything, is ruined. Flow.renoise takes away that way out.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vismem.objectives.flow import Flow

WIDTH, STEPS, R = 64, 1_500, 2


def pictures(key, count):
    """Points on a ring of eight blobs, as [N, 1, 1, 2] pictures."""
    key_blob, key_noise = jax.random.split(key)
    angle = jax.random.randint(key_blob, (count,), 0, 8) * jnp.pi / 4
    ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return (ring + 0.05 * jax.random.normal(key_noise, ring.shape)).reshape(count, 1, 1, 2)


def init(key):
    shapes = {"in": (2 + 16 + WIDTH, WIDTH), "mid": (WIDTH, WIDTH), "out": (WIDTH, 2)}
    shapes["write"] = (WIDTH, WIDTH)
    keys = jax.random.split(key, len(shapes))
    return {
        name: jax.random.normal(k, shape) * shape[0] ** -0.5
        for k, (name, shape) in zip(keys, shapes.items())
    }


def step(params, memory, canvas, time):
    """A network with a memory: (M, X, t) -> (M, estimate)."""
    phases = time[:, None] * jnp.pi * 2.0 ** jnp.arange(8)
    x = [canvas.reshape(len(canvas), 2), jnp.sin(phases), jnp.cos(phases), memory]
    h = jax.nn.silu(jnp.concatenate(x, axis=-1) @ params["in"])
    h = jax.nn.silu(h @ params["mid"])
    return jnp.tanh(h @ params["write"]), (h @ params["out"]).reshape(canvas.shape)


def shared_chain(flow, picture, times, key):
    """The cheating variant: every canvas with the same noise."""
    noise = jax.random.normal(key, picture.shape)
    t = times[..., None, None, None]
    return t * picture + (1 - t) * noise


def train_and_draw(make_chain):
    """The loss at the last step of the chain, and 2,000 drawings."""
    flow = object.__new__(Flow)
    flow.unroll, flow.ratio, flow.times = R, (0.5, 1.0), "logit_normal"
    flow.time_mean, flow.time_std = 0.0, 1.0

    def loss(params, key):
        keys = jax.random.split(key, 3)
        picture = pictures(keys[0], 256)
        times = flow.sample_times(keys[1], 256)
        canvases = make_chain(flow, picture, times, keys[2])
        memory, losses = jnp.zeros((256, WIDTH)), []
        for r in range(R):
            memory, estimate = step(params, memory, canvases[r], times[r])
            weight = jnp.minimum(1 / jnp.square(1 - times[r]), 100.0)
            losses.append((weight * jnp.square(estimate - picture).mean((1, 2, 3))).mean())
        return sum(losses) / R, losses[-1]

    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, STEPS))
    params = init(jax.random.key(0))

    def update(state, key):
        params, moments = state
        (_, last), gradient = jax.value_and_grad(loss, has_aux=True)(params, key)
        change, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, change), moments), last

    keys = jax.random.split(jax.random.key(1), STEPS)
    run = jax.jit(lambda state: jax.lax.scan(update, state, keys))
    (params, _), losses = run((params, optimizer.init(params)))

    canvas = jax.random.normal(jax.random.key(2), (2_000, 1, 1, 2))
    memory = jnp.zeros((2_000, WIDTH))
    grid = np.linspace(0, 1, 33)
    for now, to in itertools.pairwise(grid):
        time = jnp.full(2_000, now)
        memory, estimate = step(params, memory, canvas, time)
        canvas = flow.advance(canvas, estimate, time, jnp.full(2_000, to))
    return float(losses[-100:].mean()), canvas.reshape(-1, 2)


def energy_distance(a, b):
    """2 E|a - b| - E|a - a'| - E|b - b'|: 0 for one distribution (Szekely & Rizzo 2013)."""

    def gap(x, y):
        return jnp.sqrt(jnp.square(x[:, None] - y[None]).sum(-1) + 1e-12).mean()

    return float(2 * gap(a, b) - gap(a, a) - gap(b, b))


@pytest.mark.slow
def test_shared_noise_cheats_and_the_chain_does_not():
    truth = pictures(jax.random.key(9), 2_000).reshape(-1, 2)
    chain_loss, chain = train_and_draw(Flow.chain)
    cheat_loss, cheat = train_and_draw(shared_chain)
    assert cheat_loss < 0.5 * chain_loss
    assert energy_distance(chain, truth) < 0.05
    assert energy_distance(cheat, truth) > 10 * energy_distance(chain, truth)
