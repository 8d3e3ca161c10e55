"""The same run on one device and on eight."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import toy
from devices import EIGHT

from vismem.training import run
from vismem.training.loop import train

pytestmark = pytest.mark.slow
MESHES = {
    "slices": ("mesh.slices=2",),
    # Microbatches draw their own noise, so that this run is compared without it.
    "all axes": (
        *("mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2"),
        *("optimizer.accumulate=2", "objective.noise=0.0"),
    ),
    "fsdp": ("mesh.data=1", "mesh.fsdp=-1"),
    "fsdp and tensor": ("mesh.fsdp=4", "mesh.tensor=2"),
}
# Run in a process of its own, since jax counts its devices once.
PROGRAM = """
import json, sys
from pathlib import Path
import toy
from vismem.training.loop import train
for folder, settings in json.loads(sys.argv[1]).items():
    train(toy.run_config(*settings), Path(folder))
"""


def losses(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def on_one_device(folder, *settings):
    train(toy.run_config(*settings), folder)
    return losses(folder)


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory):
    """The folder of a run on each of the meshes."""
    folders = {name: tmp_path_factory.mktemp("eight") for name in MESHES}
    runs = {str(folder): MESHES[name] for name, folder in folders.items()}
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", PROGRAM, json.dumps(runs)]
    done = subprocess.run(command, env=os.environ | EIGHT | path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.parametrize("mesh", MESHES)
def test_losses_are_equal(tmp_path, on_eight, mesh):
    alone = on_one_device(tmp_path, *(s for s in MESHES[mesh] if "mesh" not in s))
    np.testing.assert_allclose(losses(on_eight[mesh]), alone, rtol=1e-5)


def test_a_checkpoint_opens_on_another_mesh(tmp_path, on_eight):
    folder = on_eight["fsdp and tensor"]
    # The run stops at 12; as after a kill, its last checkpoint is gone and step 10's remains.
    (folder / "checkpoints" / "12").rename(tmp_path / "gone")
    before = losses(folder)
    np.testing.assert_allclose(on_one_device(folder), before, rtol=1e-5)


@pytest.mark.parametrize("mesh", ["fsdp and tensor", "all axes"])
def test_what_reads_a_run_takes_the_devices_that_are_here(on_eight, mesh):
    *_, state = run.restore(toy.run_config(*MESHES[mesh]), on_eight[mesh])
    assert {x.sharding.num_devices for x in jax.tree.leaves(state["ema"])} == {1}
