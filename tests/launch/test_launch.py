"""From a command line to resolved runs; and what is refused before anything is sent."""

import json
import re

import pytest

from launch import grid, topology
from launch.__main__ import main
from launch.job import run_id
from vismem import cli, config
from vismem.errors import UserError
from vismem.parallel.mesh import MeshConfig
from vismem.reports import sweeps

EXPERIMENT = """
from ml_collections import ConfigDict

def get_config(argument):
    return ConfigDict({
        "batch_size": 8,
        "steps": 2,
        "data": {"source": {"name": "world"}, "size": 32},
        "objective": {"name": "flow", "unroll": 2},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "checkpoint": {"every": 2},
        "evaluators": {"loss": {"name": "loss", "every": 2}},
    })

def sweep():
    return {"rows": {"full": {}, "no memory": {"memory.enabled": False}}, "seeds": (0, 1)}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    (tmp_path / "memory.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return "memory.py"


def test_a_grid_is_every_combination(file):
    runs = grid.runs(file, ["lr=1e-4,3e-4", "objective.unroll=1,2", "seed=0:3"])
    assert len(runs) == 12
    assert len({run_id(run) for run in runs}) == 12
    assert len({run.folder for run in runs}) == 12
    last = runs[-1]
    assert str(last.folder) == "runs/memory/lr=3e-4-unroll=2/2"
    assert (last.config.optimizer.lr, last.config.objective.unroll, last.config.seed) == (
        3e-4,
        2,
        2,
    )


def test_a_run_alone_is_that_of_vismem_train(file):
    (run,) = grid.runs(file, None)
    assert str(run.folder) == "runs/memory"
    assert run.config.to_dict() == config.load(file).to_dict()


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("lr", "reads KEY=VALUE"),
        ("every=1", "every may be checkpoint.every or evaluators.loss.every"),
        ("optimizer.lrr=1", "did you mean 'optimizer.lr'"),
        ("lr=fast", "optimizer.lr='fast': expected float"),
        ("batch_size=0", "must be above 0"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(file, capsys, axis, said):
    assert main(["local", file, "--sweep", axis]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not sweeps.RUNS.exists()


def test_the_id_is_the_config_s(file):
    (run,), (again,) = grid.runs(file, None), grid.runs(file, None)
    (elsewhere,) = grid.runs(file, None)
    (other,) = grid.runs(file, None)
    elsewhere.config.mesh = {"data": 4}
    other.config.steps = 3
    assert run_id(run) == run_id(again) == run_id(elsewhere) != run_id(other)
    assert re.fullmatch(r"[a-z][a-z0-9-]{1,39}", run_id(run))


def test_what_is_settled_is_not_sent(file, capsys):
    done, other, failed, missing = sweeps.runs(file)
    for run in (done, other, failed):
        config.write(run.config, run.folder)
    (done.folder / "summary.json").write_text("{}")
    changed = json.loads((other.folder / "config.json").read_text()) | {"batch_size": 16}
    (other.folder / "config.json").write_text(json.dumps(changed))
    (failed.folder / "exit_code").write_text("1\n")
    assert cli.main(["sweep", file, "--jobs", "2", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert f"{done.folder}: done" in printed.err
    assert f"{other.folder}: other config (batch_size)" in printed.err
    commands = printed.out.splitlines()
    assert [command.split()[-1] for command in commands] == [
        str(failed.folder),
        str(missing.folder),
    ]
    assert "train memory.py --config.memory.enabled=False --config.seed=1" in commands[1]


@pytest.mark.parametrize(
    ("name", "hosts", "chips"),
    [
        ("v5e:1x1", 1, 1),
        ("v5e:2x4", 1, 8),
        ("v5e:4x4", 4, 16),
        ("v5e:16x16", 64, 256),
        ("v4:2x2x1", 1, 4),
        ("v4:2x2x2", 2, 8),
        ("v5p:4x4x8", 32, 128),
        ("h100:2x8", 2, 16),
    ],
)
def test_hosts_and_chips(name, hosts, chips):
    found = topology.parse(name)
    assert (found.hosts, found.chips) == (hosts, chips)


@pytest.mark.parametrize("name", ["v5e", "v5e:16", "v5e:4x4x4", "v5e:0x4", "v5x:4x4", "h100:1x9"])
def test_topologies_that_do_not_exist(name):
    with pytest.raises(UserError, match=name):
        topology.parse(name)


def test_a_mesh_that_does_not_fit_is_refused(file, capsys):
    for mesh in (MeshConfig(), MeshConfig(2, 4, 2), MeshConfig(-1, 8, 2)):
        topology.check(mesh, 16, 4)
    for mesh in (MeshConfig(-1, 3), MeshConfig(2, 2, 2)):
        with pytest.raises(UserError, match="16 devices"):
            topology.check(mesh, 16, 4)
    gke = ["--topology=v5e:4x4", "--image=i", "--claim=c", "--queue=q", "--dry-run"]
    assert main(["gke", file, "--sweep", "mesh.fsdp=4,5", *gke]) == 2
    printed = capsys.readouterr()
    assert "mesh.fsdp=5" in printed.err
    assert not printed.out
