"""Sums over wrong pairs are those of the whole matrix of logits, which no device ever holds."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import EIGHT

from vismem.parallel import pairs
from vismem.parallel.mesh import MeshConfig, make_mesh


def rows_of(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def mixed(logsumexp, softplus, weights):
    """A number in which every row and column counts differently."""
    rows, columns = logsumexp
    return weights @ jnp.concatenate([rows, columns, softplus])


def compare(mesh, texts=20, batch=32):
    """With so many different texts in the batch, equal ones on several devices."""
    x, y, weights = rows_of(0, batch, 5), rows_of(1, batch, 5), rows_of(2, 3 * batch)
    number = np.random.default_rng(0).permutation(np.arange(batch) % texts)
    tokens = jnp.asarray(np.stack([number // 3, number % 3], axis=1))  # alike in one token, or both

    def whole(x, y):
        wrong = number[:, None] != number
        logits = x @ y.T
        both = (jax.nn.logsumexp(logits, axis, where=wrong) for axis in (1, 0))
        return mixed(both, (jax.nn.softplus(logits) * wrong).sum(1), weights)

    def ring(x, y):
        given = mesh, x, y, tokens
        return mixed(pairs.logsumexp(*given), pairs.softplus(*given), weights)

    wanted, found = (jax.jit(jax.value_and_grad(f, (0, 1)))(x, y) for f in (whole, ring))
    for a, b in zip(jax.tree.leaves(wanted), jax.tree.leaves(found)):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * float(jnp.abs(a).max()))


def temporary_bytes(mesh, batch):
    """Of a device, for a loss and its gradient."""
    x = jax.ShapeDtypeStruct((batch, 8), jnp.float32)
    tokens = jax.ShapeDtypeStruct((batch, 32), jnp.int32)

    def loss(x, y, tokens):
        return sum(map(jnp.sum, pairs.logsumexp(mesh, x, y, tokens)))

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(x, x, tokens).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("texts", [20, 32])
def test_one_device(texts):
    compare(make_mesh(MeshConfig(), jax.devices()[:1]), texts)


def test_where_all_texts_are_equal_nothing_is_wrong():
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    x, y, tokens = rows_of(0, 4, 5), rows_of(1, 4, 5), jnp.ones((4, 2), int)

    def loss(x, y):
        rows, columns = pairs.logsumexp(mesh, x, y, tokens)
        right = jnp.logaddexp(rows, 1.0) + jnp.logaddexp(columns, 1.0)
        return (right + pairs.softplus(mesh, x, y, tokens)).sum()

    found, gradients = jax.value_and_grad(loss, (0, 1))(x, y)
    assert found == 4 * 2
    assert all((gradient == 0).all() for gradient in gradients)


def test_products_are_float32s_on_every_device():
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    tokens = jnp.arange(8).reshape(4, 2)

    def loss(x, y):
        rows, columns = pairs.logsumexp(mesh, x, y, tokens)
        return (rows + columns + pairs.softplus(mesh, x, y, tokens)).sum()

    program = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(rows_of(0, 4, 5), rows_of(1, 4, 5)))
    assert program.count("dot_general[") == program.count("precision=(Precision.HIGHEST") == 8


PROGRAM = """
import json, sys, jax
from vismem.parallel.mesh import MeshConfig, make_mesh
import test_pairs
for shape in ({}, {"fsdp": 4}, {"fsdp": 2, "tensor": 2}):
    test_pairs.compare(make_mesh(MeshConfig(**shape)))
few = make_mesh(MeshConfig(), jax.devices()[:2])
used = [test_pairs.temporary_bytes(m, 512 * m.size) for m in (few, make_mesh(MeshConfig()))]
print(json.dumps([jax.device_count(), *used]))
"""


@pytest.mark.slow
def test_eight_devices_agree_and_memory_grows_with_the_local_batch_only():
    path = {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | EIGHT | path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    devices, two, eight = json.loads(done.stdout)
    assert devices == 8
    assert two > 512 * 512 * 4  # a block of logits
    assert eight < 1.1 * two
