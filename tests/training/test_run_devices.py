"""The same run on one device, on two and on eight."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import toy
from devices import environment

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


def on_devices(count, runs):
    """Runs, folder -> settings, on so many devices."""
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [
        *(sys.executable, "-c", PROGRAM),
        json.dumps({str(folder): settings for folder, settings in runs.items()}),
    ]
    known = os.environ | environment(count) | path
    done = subprocess.run(command, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory):
    """The folder of a run on each of the meshes."""
    folders = {name: tmp_path_factory.mktemp("eight") for name in MESHES}
    on_devices(8, {folder: MESHES[name] for name, folder in folders.items()})
    return folders


@pytest.mark.parametrize("mesh", MESHES)
def test_losses_are_equal(tmp_path, on_eight, mesh):
    alone = on_one_device(tmp_path, *(s for s in MESHES[mesh] if "mesh" not in s))
    np.testing.assert_allclose(losses(on_eight[mesh]), alone, rtol=1e-5)


def test_two_devices_twice(tmp_path):
    """To the last bit the same again, and on one device but for the order of sums."""
    first, second, one = (tmp_path / name for name in ("first", "second", "one"))
    on_devices(2, {first: (), second: ()})
    assert json.loads((first / "summary.json").read_text())["devices"]["count"] == 2
    assert losses(first) == losses(second)
    np.testing.assert_allclose(losses(first), on_one_device(one), rtol=1e-5)


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
