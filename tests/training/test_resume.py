"""Runs that are cut off, those by a signal in processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy

from vismem.errors import UserError
from vismem.training import run
from vismem.training.checkpoint import Checkpoints
from vismem.training.loop import train

TOY = Path(__file__).with_name("toy.py")
# Long enough that a signal finds it training.
LONG = ("steps=2000", "checkpoint.every=20", "optimizer.schedule=constant")


def start(folder, *settings, under=()):
    return subprocess.Popen(
        [*under, sys.executable, str(TOY), str(folder), *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, *settings):
    """Trains in this process."""
    return train(toy.run_config(*settings), folder)


def metrics(folder):
    return (folder / "metrics.jsonl").read_text()


def wait_for(path, process, seconds=120):
    for _ in range(seconds * 20):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise TimeoutError(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    finish(folder)
    return folder


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_last_bit(tmp_path):
    settings = ("steps=400", "checkpoint.every=20", "evaluators.norm.every=30")
    summary = finish(tmp_path / "whole", *settings)
    process = start(tmp_path / "cut", *settings)
    wait_for(tmp_path / "cut" / "checkpoints" / "40", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cut" / "summary.json").exists()
    assert finish(tmp_path / "cut", *settings)["metrics"] == summary["metrics"]
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_finished_run_stays_as_it_is(tmp_path, whole, monkeypatch, caplog):
    """Also its summary, which is of the code that trained it."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    summary = (folder / "summary.json").read_text()
    monkeypatch.setattr(run, "code", lambda: {"commit": "another", "changed": ["loop.py"]})
    assert finish(folder) == json.loads(summary)
    assert (folder / "summary.json").read_text() == summary
    assert metrics(folder) == metrics(whole)
    assert "goes on at commit" not in caplog.text
    longer = finish(folder, "steps=13")
    assert longer["commit"] == "another"
    assert "step 12: goes on at commit another" in caplog.text
    assert [(code["since"], code["commit"]) for code in longer["code"]] == [
        (0, json.loads(summary)["commit"]),
        (12, "another"),
    ]


def test_what_is_measured_otherwise_is_measured_again(tmp_path, whole):
    """Of a finished run; what its config no longer asks for is left out."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    [(name, norm)] = finish(folder)["metrics"].items()
    found = finish(folder, "evaluators.norm.key=other/norm")
    assert found["metrics"] == {"other/norm": norm}
    # Its checkpoint knows: nothing is left to do.
    lines = metrics(folder)
    (folder / "summary.json").unlink()
    again = finish(folder, "evaluators.norm.key=other/norm")
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    ranked = folder / "checkpoints" / "12" / "metrics" / "metrics"
    assert not ranked.exists()
    finish(folder, "evaluators.norm.key=other/norm", "checkpoint.best=other/norm")
    assert json.loads(ranked.read_text()) == {"best": norm}
    assert metrics(folder) == lines
    assert finish(folder)["metrics"] == {name: norm}


def test_an_evaluation_that_was_broken_off_still_finds_the_best(tmp_path, monkeypatch):
    """A signal comes during the last one, so that the step is saved before it is ranked."""
    settings = ("checkpoint.best=toy/norm", "checkpoint.best_mode=max", "checkpoint.keep=1")

    def measure(evaluator, state):
        if state["step"] == 12:
            signal.raise_signal(signal.SIGTERM)
        return found(evaluator, state)

    found = toy.ToyEvaluator.run
    monkeypatch.setattr(toy.ToyEvaluator, "run", measure)
    with pytest.raises(SystemExit):
        finish(tmp_path, *settings)
    monkeypatch.undo()
    finish(tmp_path, *settings)
    lines = map(json.loads, metrics(tmp_path).splitlines())
    norms = {line["step"]: line["toy/norm"] for line in lines if "toy/norm" in line}
    assert norms.keys() == {4, 8, 12}
    ranked = tmp_path / "checkpoints" / "12" / "metrics" / "metrics"
    assert json.loads(ranked.read_text()) == {"best": norms[12]}
    with Checkpoints(tmp_path, toy.run_config(*settings).checkpoint) as checkpoints:
        assert checkpoints._manager.best_step() == max(norms, key=norms.get) == 12


def test_seconds_count_on_where_a_run_goes_on(tmp_path, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    about = folder / "checkpoints" / "12" / "about" / "metadata"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"seconds": 1000.0}))
    with (folder / "timings.jsonl").open("a") as timings:  # of a process that was killed
        timings.write('{"step": 13, "seconds": 5.0}\n{"step": 14, "sec')
    summary = finish(folder, "steps=14")
    lines = map(json.loads, (folder / "timings.jsonl").read_text().splitlines())
    seconds = {line["step"]: line["seconds"] for line in lines}
    assert 0 < seconds[1] < seconds[12] < 1000 < seconds[13] < seconds[14] <= summary["seconds"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 42), (signal.SIGINT, 130)])
def test_signals_save_first(tmp_path, number, code):
    process = start(tmp_path, *LONG, "checkpoint.every=1000000")
    wait_for(tmp_path / "metrics.jsonl", process)
    while not metrics(tmp_path):
        time.sleep(0.05)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "saved; the same command again goes on from here" in output
    [saved] = (tmp_path / "checkpoints").iterdir()
    lines = metrics(tmp_path).splitlines()
    assert json.loads(lines[-1])["step"] == int(saved.name)
    # It goes on from there.
    finish(tmp_path, f"steps={int(saved.name) + 3}", *LONG[1:])
    assert metrics(tmp_path).splitlines()[: len(lines)] == lines


def damage_by_truncation(step):
    for path in step.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def damage_the_arrays(step):
    for path in (step / "state").rglob("d/*"):
        os.truncate(path, path.stat().st_size // 2)


def damage_the_position(step):
    (step / "data" / "metadata").write_text("{")


def damage_by_removal(step):
    shutil.rmtree(step / "state")


@pytest.mark.parametrize(
    "damage",
    [damage_by_truncation, damage_the_arrays, damage_the_position, damage_by_removal],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, whole, damage, caplog):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    damage(folder / "checkpoints" / "12")
    finish(folder)
    assert f"{folder}/checkpoints/12: damaged or half-written, passed over" in caplog.text
    assert metrics(folder) == metrics(whole)
    assert (folder / "checkpoints" / "12" / "state").is_dir()  # made again


def test_a_checkpoint_with_damaged_metrics_is_passed_over(tmp_path, caplog):
    """And read all the same by who only reads."""
    config = toy.run_config("checkpoint.best=toy/norm")
    summary = train(config, tmp_path)
    lines = metrics(tmp_path)
    os.truncate(tmp_path / "checkpoints" / "12" / "metrics" / "metrics", 5)
    assert run.evaluate(config, tmp_path) == summary["metrics"]
    assert train(config, tmp_path)["metrics"] == summary["metrics"]
    assert f"{tmp_path}/checkpoints/12: damaged or half-written, passed over" in caplog.text
    assert metrics(tmp_path) == lines


def test_what_a_save_left_half_done_is_named_and_removed(tmp_path, whole, caplog):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    newest = folder / "checkpoints" / "12"
    left = newest.rename(newest.with_name("12.orbax-checkpoint-tmp-7"))
    finish(folder)
    assert f"{left}: left by a save that was cut off, removed" in caplog.text
    assert not left.exists()
    assert metrics(folder) == metrics(whole)


def test_no_checkpoint_can_be_read(tmp_path, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for step in (10, 12):
        damage_by_truncation(folder / "checkpoints" / str(step))
    with pytest.raises(UserError, match="none of its checkpoints can be read"):
        finish(folder)
    assert metrics(folder) == metrics(whole)  # nothing was begun anew over it


def test_a_full_disk_is_one_line(tmp_path, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)

    # A limit of the size of files: what writes more fails, as on a full disk.
    limited = ("sh", "-c", 'ulimit -f 16; exec "$@"', "sh")
    process = start(folder, "steps=20", under=limited)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    [line] = [x for x in errors.splitlines() if x.startswith("toy: ")]
    assert "the disk is full" in line
    assert f"{folder}/checkpoints/12" in line
    assert finish(folder, "steps=20")["steps"] == 20
