"""The flow's loss, gradient and drawings do not depend on the number of devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Run in a process of its own, since jax counts its devices once: prints numbers as JSON.
PROGRAM = """
import json
import jax, numpy as np
from test_flow import PLAYER, make_batch, make_flow, make_params
from vismem.drawing.scan import Guidance, draw
from vismem.drawing.solvers import Euler
from vismem.parallel import hosts
from vismem.parallel.mesh import MeshConfig, make_mesh

mesh = make_mesh(MeshConfig())
flow = make_flow(unroll=2)
params, key = make_params(flow), jax.random.key(5)
batch = hosts.put({k: np.asarray(v) for k, v in make_batch(8).items()}, mesh)
loss, gradient = jax.jit(jax.value_and_grad(lambda p, b: flow.loss(PLAYER, p, b, key)[0]))(
    params, batch
)
pictures, _ = jax.jit(lambda p, t: draw(flow, p, t, key, Euler(4), Guidance()))(
    params, batch["tokens"]
)
norms = [float(abs(g).sum()) for g in jax.tree.leaves(gradient)]
print(json.dumps([jax.device_count(), float(loss), norms, np.asarray(pictures).ravel().tolist()]))
"""


def numbers(devices: int):
    environment = os.environ | {
        "PJRT_NPROC": "16",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, *found = json.loads(done.stdout)
    assert count == devices
    return found


@pytest.mark.slow
def test_one_two_and_eight_devices_agree():
    loss, norms, pictures = numbers(1)
    for devices in (2, 8):
        other_loss, other_norms, other_pictures = numbers(devices)
        np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
        np.testing.assert_allclose(other_norms, norms, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(other_pictures, pictures, atol=1e-4)
