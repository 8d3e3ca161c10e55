"""From a command line to resolved runs; and what is refused before anything is sent."""

import dataclasses
import errno
import fcntl
import json
import re

import pytest

from launch import grid, local, slurm, topology, tpu
from launch.__main__ import main
from launch.job import run_id
from vismem import cli, config
from vismem.errors import UserError
from vismem.parallel.mesh import MeshConfig
from vismem.reports import status, sweeps

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
FORCED = "XLA_FLAGS=--xla_force_host_platform_device_count=4"


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


def test_an_axis_mixes_values_and_ranges(file):
    assert [run.seed for run in grid.runs(file, ["seed=0,2:5"])] == [0, 2, 3, 4]


@pytest.mark.parametrize("given", ["FOO", "=1"])
def test_an_environment_is_names_and_values(file, capsys, given):
    with pytest.raises(SystemExit) as ended:
        main(["local", file, "--env", "BAR=", given])
    assert ended.value.code == 2
    assert f"argument --env: {given!r}: reads NAME=VALUE" in capsys.readouterr().err


def test_a_run_alone_is_that_of_vismem_train(file):
    (run,) = grid.runs(file, None)
    assert str(run.folder) == "runs/memory"
    assert run.config.to_dict() == config.load(file).to_dict()


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("lr", "reads KEY=VALUE"),
        ("optimizer.lr=1e-4 lr=3e-4", "optimizer.lr is given twice"),
        ("every=1", "every may be checkpoint.every or evaluators.loss.every"),
        ("optimizer.lrr=1", "did you mean 'optimizer.lr'"),
        ("lr=fast", "optimizer.lr='fast': expected float"),
        ("batch_size=0", "must be above 0"),
        ("seed=0,x", "seed='x': expected int"),
        ("seed=3:3", "needs at least one row and one seed"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(file, capsys, axis, said):
    assert main(["local", file, "--sweep", *axis.split()]) == 2
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


def test_the_first_seed_of_every_row_comes_before_the_second_of_any(file, capsys):
    assert cli.main(["sweep", file, "--dry-run"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert [command.split()[-1].removeprefix("runs/memory/") for command in commands] == [
        *("full/0", "no-memory/0", "full/1", "no-memory/1"),
    ]


def test_what_is_settled_is_not_sent(file, capsys):
    done, other, failed, missing = sweeps.runs(file)
    for run in (done, other, failed):
        config.write(run.config, run.folder)
    facts = {"metrics": {}, "code": [{"commit": "0" * 40}]}
    (done.folder / "summary.json").write_text(json.dumps(facts))
    changed = json.loads((other.folder / "config.json").read_text()) | {"batch_size": 16}
    (other.folder / "config.json").write_text(json.dumps(changed))
    (failed.folder / "exit_code").write_text("1\n")
    assert cli.main(["sweep", file, "--jobs", "2", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert f"{done.folder}: done, by other code (0000000); left as it is" in printed.err
    assert f"{other.folder}: other config (batch_size); left as it is" in printed.err
    commands = printed.out.splitlines()
    assert [command.split()[-1] for command in commands] == [
        str(failed.folder),
        str(missing.folder),
    ]
    assert "train memory.py --config.memory.enabled=False --config.seed=1" in commands[1]
    (failed.folder / "config.json").write_text('{"batch_size": 8')
    assert cli.main(["sweep", file, "--dry-run"]) == 0
    assert f"{failed.folder}: unreadable (config.json); left as it is" in capsys.readouterr().err


def test_a_dry_run_leaves_out_what_is_running(file, capsys):
    first, *_ = runs = sweeps.runs(file)
    first.folder.mkdir(parents=True)
    with (first.folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cli.main(["sweep", file, "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"{first.folder}: is running already; left as it is\n"
    assert len(printed.out.splitlines()) == len(runs) - 1
    assert cli.main(["sweep", file, "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    assert len(printed.out.splitlines()) == len(runs)


def test_a_dry_run_leaves_out_what_slurm_has_in_its_queue(file, capsys, monkeypatch):
    queued, *others = sweeps.runs(file)
    monkeypatch.setattr(slurm, "live", lambda: {run_id(queued): "job 5"})
    assert cli.main(["sweep", file, "--backend", "slurm", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"{queued.folder}: in the queue already, job 5; left as it is\n"
    assert f"{queued.folder};" not in printed.out
    assert all(f"{run.folder};" in printed.out for run in others)

    def silent():
        raise UserError("squeue: unable to\ncontact the controller")

    monkeypatch.setattr(slurm, "live", silent)
    assert cli.main(["sweep", file, "--backend", "slurm", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("squeue: unable to contact the controller (")
    assert f"{queued.folder};" in printed.out


@pytest.mark.parametrize("backend", ["gke", "tpu"])
def test_help_says_whose_queue_is_not_asked(capsys, backend):
    with pytest.raises(SystemExit):
        main([backend, "--help"])
    assert "which of it is there already" in " ".join(capsys.readouterr().out.split())


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


def test_a_mesh_that_fits(file):
    (run,) = grid.runs(file, None)
    run = config.run_config(run.config)
    run = dataclasses.replace(run, batch_size=48)
    for mesh in (MeshConfig(), MeshConfig(2, 4, 2), MeshConfig(-1, 8, 2), MeshConfig(slices=4)):
        topology.check(dataclasses.replace(run, mesh=mesh), 4, 16, "gpu")


GKE = ["--image=i", "--claim=c", "--queue=q"]


@pytest.mark.parametrize(
    ("backend", "axis", "said"),
    [
        (["gke", "--topology=v5e:4x4", *GKE], "mesh.tensor=2,5", "mesh.tensor=5"),
        (["gke", "--topology=v5e:4x4", *GKE], "batch_size=16,24", "multiple of 16"),
        (["gke", "--topology=v5e:4x4", *GKE], "optimizer.accumulate=2", "multiple of 32"),
        (["gke", "--topology=v5e:4x4", *GKE], "mesh.slices=2", "a run is sent to one slice"),
        (["gke", "--topology=h100:2x8", *GKE], "mesh.slices=4", "does not divide the 2 hosts"),
        (["gke", "--topology=h100:2x6", *GKE], "mesh.tensor=4 batch_size=12", "multiple of 6"),
        (["slurm", "--nodes=3"], "batch_size=8", "multiple of 3"),
        (["local", "--hosts=2"], "mesh.data=4", "there are 2"),
        (["local", "--hosts=2", "--env", FORCED], "mesh.data=4", "there are 8"),
        (["local"], "mesh.fsdp=0", "mesh.fsdp=0: must be at least 1"),
        (["local"], "mesh.fsdp=-2", "mesh.fsdp=-2: must be at least 1"),
        (["local"], "mesh.fsdp=-1", "only one axis may be -1"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(file, capsys, monkeypatch, backend, axis, said):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    name, *options = backend
    assert main([name, file, "--dry-run", "--sweep", *axis.split(), *options]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


@pytest.mark.parametrize(
    "options",
    [
        *(["local", "--jobs", "0"], ["local", "--hosts", "0"], ["local", "--jobs", "-1"]),
        *(["slurm", "--nodes", "0"], ["slurm", "--jobs", "0"], ["slurm", "--gpus", "-1"]),
    ],
)
def test_numbers_that_make_no_sense(file, capsys, options):
    name, option, number = options
    with pytest.raises(SystemExit) as ended:
        main([name, file, option, number])
    assert ended.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_the_status_page_is_written_each_time(file, capsys, monkeypatch):
    sent = []
    monkeypatch.setattr(slurm, "send", lambda jobs, options: sent.append(len(jobs)) or 0)
    page = sweeps.RUNS / "memory" / "status.html"
    assert cli.main(["sweep", file, "--backend", "slurm"]) == 0
    assert "0 of 4 runs are done" in page.read_text()
    for run in sweeps.runs(file):
        config.write(run.config, run.folder)
        (run.folder / "summary.json").write_text(json.dumps({"metrics": {}}))
    assert cli.main(["sweep", file, "--backend", "slurm"]) == 0
    assert "4 of 4 runs are done" in page.read_text()
    assert sent == [4]


def test_slices_of_what_is_done_are_cleared_too(file, monkeypatch):
    done, *others = sweeps.runs(file)
    config.write(done.config, done.folder)
    (done.folder / "summary.json").write_text(json.dumps({"metrics": {}, "commit": None}))
    seen = {}
    monkeypatch.setattr(tpu, "clear", lambda jobs, _: seen.update(clear={j.id for j in jobs}))
    monkeypatch.setattr(tpu, "send", lambda jobs, _: seen.update(send={j.id for j in jobs}) or 0)
    given = ["--topology=v5e:2x4", "--project=p", "--zone=z", "--image=i", "--mount=m"]
    assert main(["tpu", file, "--sweep", *given]) == 0
    assert seen["send"] == {run_id(run) for run in others}
    assert seen["clear"] == {run_id(run) for run in (done, *others)}


def test_a_folder_that_cannot_be_written_is_one_line(file, capsys):
    sweeps.RUNS.touch()
    assert main(["slurm", file]) == 2
    error = capsys.readouterr().err
    assert error.startswith("launch: ")
    assert error.count("\n") == 1


def test_a_status_page_that_cannot_be_written_ends_no_watching(file, capsys, monkeypatch):
    def watch(jobs, options):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(status, "write", full)
        options.status(set())
        return 7

    monkeypatch.setattr(local, "send", watch)
    assert main(["local", file]) == 7
    assert "status.html: cannot be written: [Errno 28] No space left" in capsys.readouterr().err


def test_errors_bear_the_name_of_the_command(file, capsys):
    assert cli.main(["sweep", "nowhere.py"]) == 2
    assert capsys.readouterr().err.startswith("vismem: nowhere.py")
    assert main(["local", "nowhere.py"]) == 2
    assert capsys.readouterr().err.startswith("launch: nowhere.py")
