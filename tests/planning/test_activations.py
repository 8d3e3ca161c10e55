"""What devices send each other for a step is parameters and gradients, never examples."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BATCHES = [8, 24]
# In a process of its own, since jax counts its devices once: prints what a device sends a step.
PROGRAM = """
import json, sys
import jax
from test_flow import make_batch, make_flow
from vismem.models.generator import PainterConfig
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.planning.collectives import traffic
from vismem.training.optimizer import OptimizerConfig
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

painter = PainterConfig(width=32, layers=2, heads=2, patch=4, scan=True)
flow = make_flow(unroll=2, remat=True, painter=painter)
mesh = make_mesh(MeshConfig(data=1, fsdp=8))

def sent(size):
    batch = jax.eval_shape(lambda: make_batch(size))
    layout = Layout(flow, OptimizerConfig(), batch, mesh, steps=10)
    step = compiled(make_train_step(flow, layout.optimizer, 0.9), layout.shardings, mesh)
    found = traffic(step.lower(layout.shapes, batch).compile().as_text())
    return {kind: traffic.bytes for kind, traffic in found.items()}

print(json.dumps([sent(size) for size in json.loads(sys.argv[1])]))
"""


@pytest.mark.slow
def test_larger_batches_send_no_more():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[1] / "objectives"), *filter(None, sys.path)]
        ),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(BATCHES)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout)
    assert few["all-gather"] > 0
    assert few == many
