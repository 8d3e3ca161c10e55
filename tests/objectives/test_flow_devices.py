"""The flow's loss, gradient and drawings are the same on one device and on meshes of eight."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MESHES = [(2, 2, 2, 1), (2, 1, 2, 2)]  # data, fsdp, tensor, slices

# Run in a process of its own, since jax counts its devices once: prints errors as JSON.
PROGRAM = """
import json, sys
import flax.linen as nn
import jax, numpy as np
from test_flow import PLAYER, make_batch, make_flow, make_params
from vismem.drawing.scan import Guidance, draw
from vismem.drawing.solvers import Euler
from vismem.models.generator import PainterConfig
from vismem.parallel import hosts, rules
from vismem.parallel.mesh import MeshConfig, make_mesh

flow = make_flow(unroll=2, painter=PainterConfig(width=32, layers=1, heads=8, patch=4))
key, batch = jax.random.key(5), {k: np.asarray(v) for k, v in make_batch(8).items()}
boxed = jax.eval_shape(flow.init, key, batch)
params = jax.tree.map(np.asarray, make_params(flow))

def numbers(mesh):
    placed, rows = jax.device_put(params, rules.shardings(boxed, mesh)), hosts.put(batch, mesh)
    loss = jax.jit(jax.value_and_grad(lambda p, b: flow.loss(PLAYER, p, b, key)[0]))
    picture = jax.jit(lambda p, t: draw(flow, p, t, key, Euler(3), Guidance())[0])
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # as in a train step
        return jax.device_get([*loss(placed, rows), picture(placed, rows["tokens"])])

def error(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())

expected = numbers(make_mesh(MeshConfig(), jax.devices()[:1]))
errors = [
    [max(jax.tree.leaves(jax.tree.map(error, f, e))) for f, e in zip(found, expected)]
    for found in (numbers(make_mesh(MeshConfig(*shape))) for shape in json.loads(sys.argv[1]))
]
print(json.dumps([jax.device_count(), errors]))
"""


@pytest.mark.slow
def test_meshes_of_eight_agree_with_one_device():
    environment = os.environ | {
        "PJRT_NPROC": "16",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(MESHES)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    count, errors = json.loads(done.stdout)
    assert count == 8
    for mesh, (loss, gradient, picture) in zip(MESHES, errors):
        assert max(loss, gradient, picture) < 1e-5, (mesh, loss, gradient, picture)
