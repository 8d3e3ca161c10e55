"""A run of several processes, which meet over loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import toy

from vismem.training.loop import train

pytestmark = pytest.mark.slow
TOY = Path(__file__).with_name("toy.py")
# Long enough that a signal finds it training.
LONG = (
    *("steps=100000", "optimizer.schedule=constant", "optimizer.warmup=0", "optimizer.lr=1e-3"),
    "evaluators.norm.every=0",
)


def start(count, folder, *settings):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    together = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, str(TOY), str(folder), *settings],
            env=os.environ | {"JAX_PLATFORMS": "cpu", **together, "JAX_PROCESS_ID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def finish(processes, seconds=600):
    """Exit code, standard output and errors of each."""
    ended = [process.communicate(timeout=seconds) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, ended)]


def run(count, folder, *settings):
    """A run of so many processes to its end; of one, in this one."""
    if count == 1:
        return train(toy.run_config(*settings), folder)
    ended = finish(start(count, folder, *settings))
    assert [code for code, _, _ in ended] == [0] * count, ended
    return ended


def lines(folder):
    return list(map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))


def losses(folder):
    return {line["step"]: line["loss"] for line in lines(folder) if "loss" in line}


def until(holds, processes, seconds=600):
    end = time.monotonic() + seconds
    while not holds():
        assert all(process.poll() is None for process in processes), finish(processes)
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The losses of a run of one process, by step."""
    folder = tmp_path_factory.mktemp("alone")
    run(1, folder, *LONG, "steps=40")
    return losses(folder)


@pytest.mark.parametrize(
    ("count", "settings"),
    [
        (2, ("mesh.slices=2",)),
        (4, ("mesh.fsdp=2", "mesh.tensor=2")),  # two and two read the same rows
    ],
    ids=str,
)
def test_losses_are_those_of_one_and_so_they_are_where_more_go_on(tmp_path, alone, count, settings):
    first, *others = run(count, tmp_path, *LONG, "steps=6", *settings)
    found = losses(tmp_path)
    assert len(found) == 6
    np.testing.assert_allclose([found[s] for s in found], [alone[s] for s in found], rtol=1e-5)
    # One writes and shows for all.
    assert "step 6/6" in first[1]
    assert not any("step" in output for _, output, _ in others)
    [end] = [line for line in lines(tmp_path) if "toy/norm" in line]
    assert end["step"] == 6
    # All have a share in the evaluation.
    run(1, tmp_path / "alone", *LONG, "steps=6")
    [wanted] = [line for line in lines(tmp_path / "alone") if "toy/norm" in line]
    np.testing.assert_allclose(end["toy/norm"], wanted["toy/norm"], rtol=1e-5)
    # What comes next, these read and compute together as the one would have.
    run(count, tmp_path / "alone", *LONG, "steps=9", *settings)
    found = losses(tmp_path / "alone")
    assert list(found) == list(range(1, 10))
    np.testing.assert_allclose([found[s] for s in found], [alone[s] for s in found], rtol=1e-4)


def test_a_signal_to_one_stops_all_and_fewer_go_on(tmp_path, alone):
    processes = start(2, tmp_path, *LONG, "checkpoint.every=1000000")
    until((tmp_path / "metrics.jsonl").exists, processes)
    until(lambda: len(lines(tmp_path)) > 2, processes)
    processes[1].send_signal(signal.SIGTERM)
    ended = finish(processes)
    assert [code for code, _, _ in ended] == [42, 42], ended
    [saved] = (tmp_path / "checkpoints").iterdir()
    step = int(saved.name)
    assert lines(tmp_path)[-1]["step"] == step
    # What comes next, one process alone reads and computes as two would have.
    run(1, tmp_path, *LONG, f"steps={step + 3}")
    found = losses(tmp_path)
    assert list(found) == list(range(1, step + 4))
    known = [s for s in found if s in alone]
    np.testing.assert_allclose([found[s] for s in known], [alone[s] for s in known], rtol=1e-4)


@pytest.mark.parametrize(("victim", "then"), [(0, 2), (1, 1)])
def test_when_one_is_killed_the_others_end_and_all_can_go_on(tmp_path, victim, then):
    processes = start(2, tmp_path, *LONG, "checkpoint.every=2")
    until((tmp_path / "checkpoints" / "2").exists, processes)
    processes[victim].kill()
    begun = time.monotonic()
    survivor = finish(processes)[1 - victim]
    assert time.monotonic() - begun < 60
    assert survivor[0] not in (0, 42)
    assert "another process" in survivor[2] or "another task died" in survivor[2]
    saved = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdecimal())
    run(then, tmp_path, *LONG, f"steps={saved + 2}")
    assert list(losses(tmp_path)) == list(range(1, saved + 3))
