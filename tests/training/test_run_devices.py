"""The same run on one device and on eight."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
TOY = Path(__file__).with_name("toy.py")
VIRTUAL = {
    # Without PJRT_NPROC, sharded steps that queue on few cores wait for each other for ever.
    "PJRT_NPROC": "16",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
}


def losses(folder, *settings, **environment):
    command = [sys.executable, str(TOY), str(folder), *settings]
    subprocess.run(command, check=True, env=os.environ | environment, capture_output=True)
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    return losses(tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize(
    "settings",
    [
        ("mesh.slices=2",),
        ("mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2", "optimizer.accumulate=2"),
        ("mesh.data=1", "mesh.fsdp=-1"),
    ],
    ids=" ".join,
)
def test_losses_are_equal(tmp_path, on_one_device, settings):
    # Microbatches draw their own noise, so that the accumulating run is compared without it.
    if any("accumulate" in s for s in settings):
        on_one_device = losses(tmp_path / "one", "objective.noise=0.0")
        settings = (*settings, "objective.noise=0.0")
    np.testing.assert_allclose(
        losses(tmp_path / "eight", *settings, **VIRTUAL), on_one_device, rtol=1e-5
    )


def test_a_checkpoint_opens_on_another_mesh(tmp_path, on_one_device):
    losses(tmp_path, "mesh.fsdp=4", "mesh.tensor=2", **VIRTUAL)
    # The run stops at 12; as after a kill, its last checkpoint is gone and step 10's remains.
    for step in tmp_path.glob("checkpoints/12"):
        step.rename(tmp_path / "gone")
    np.testing.assert_allclose(losses(tmp_path), on_one_device, rtol=1e-5)
