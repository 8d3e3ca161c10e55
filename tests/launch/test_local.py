"""Runs on this machine, for real: what is told to stop, breaks, or is sent twice."""

import argparse
import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from launch import local
from launch.job import Job
from vismem.errors import UserError
from vismem.parallel import locks

COUNTER = Path(__file__).with_name("counter.py")
RUNNER = """
import sys
from pathlib import Path
from launch.job import Job
from launch.local import Runner
counter, *folders = sys.argv[1:]
jobs = [Job(f, ("python", counter, f, "1000"), Path(f)) for f in folders]
sys.exit(Runner([[{}], [{}]], lambda _: None).run(jobs))
"""


def job(folder, *arguments, hosts=1):
    command = ("python", str(COUNTER), str(folder), *map(str, arguments))
    return Job(folder.name, command, folder, hosts=hosts)


def send(*jobs, parallel=1):
    seen = []
    return local.send(jobs, options(parallel, jobs[0].hosts, status=seen.append)), seen


def options(jobs=1, hosts=1, env=(), **others):
    return argparse.Namespace(jobs=jobs, hosts=hosts, env=env, **others)


def exit_code(folder):
    return int((folder / "exit_code").read_text())


def eventually(holds, seconds=120):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_all_are_run_and_a_failure_stops_no_other(tmp_path):
    folders = [tmp_path / name for name in ("good", "bad", "better")]
    jobs = [job(folders[0], 2), job(folders[1], 2, 3), job(folders[2], 2)]
    code, seen = send(*jobs)
    assert code == 1
    assert [exit_code(folder) for folder in folders] == [0, 3, 0]
    assert all(len(running) <= 1 for running in seen)
    assert seen[-1] == set()
    assert {folder for running in seen for folder in running} == set(folders)
    assert send(jobs[0])[0] == 0


def test_some_at_a_time(tmp_path):
    _, seen = send(*(job(tmp_path / str(i), 10) for i in range(3)), parallel=2)
    assert max(map(len, seen)) == 2


def test_a_run_that_saved_goes_on(tmp_path):
    folder = tmp_path / "run"

    def preempt():
        eventually(lambda: (folder / "seen").exists())
        os.kill(int((folder / "pid").read_text()), signal.SIGTERM)

    threading.Thread(target=preempt).start()
    code, _ = send(job(folder, 20))
    assert (code, exit_code(folder)) == (0, 0)
    starts = [int(n) for n in re.findall(r"from (\d+)", (folder / "log.txt").read_text())]
    assert len(starts) == 2
    assert 0 == starts[0] < starts[1] == int((folder / "count").read_text())


def test_a_run_that_was_stopped_early_is_started_again(tmp_path, capfd):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, pathlib, signal\n"
        "seen = pathlib.Path(__file__).with_name('seen')\n"
        "if not seen.exists():\n"
        "    seen.touch()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    folder = tmp_path / "run"
    assert send(Job("run", ("python", str(script)), folder))[0] == 0
    assert exit_code(folder) == 0
    assert "run: stopped" in capfd.readouterr().out


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGTERM, 42), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on(tmp_path, number, ends):
    folders = [tmp_path / str(i) for i in range(3)]
    runner = [sys.executable, "-c", RUNNER, str(COUNTER), *map(str, folders)]
    process = subprocess.Popen(runner, stdout=subprocess.DEVNULL)
    eventually(lambda: all((f / "seen").exists() for f in folders[:2]))
    process.send_signal(number)
    assert process.wait(120) == ends
    if number == signal.SIGTERM:
        assert all((f / "count").exists() for f in folders[:2])
    assert not folders[2].exists()


def test_sending_twice_does_not_start_twice(tmp_path, capfd):
    folder = tmp_path / "run"
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(COUNTER), str(folder)])
    eventually(lambda: (folder / "seen").exists())
    assert send(job(folder, 1))[0] == 0
    assert "is running already" in capfd.readouterr().out
    # Nor when the runner is gone and the run it started is not.
    runner.kill()
    runner.wait()
    assert send(job(folder, 1))[0] == 0
    assert "is running already" in capfd.readouterr().out
    os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    eventually(lambda: (folder / "count").exists())
    assert (folder / "log.txt").read_text().count("from") == 1


def test_processes_of_a_run_end_together(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "GRACE", 0.5)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "sys.exit(5) if os.environ['JAX_PROCESS_ID'] == '1' else time.sleep(100)"
    )
    folder = tmp_path / "run"
    assert send(Job("run", ("python", str(script)), folder, hosts=2))[0] == 1
    assert exit_code(folder) == 5


def test_processes_find_each_other(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, jax\n"
        "jax.distributed.initialize(num_processes=int(os.environ['JAX_NUM_PROCESSES']),\n"
        "                           process_id=int(os.environ['JAX_PROCESS_ID']))\n"
        "sys.stdout.write(f'one of {jax.device_count()}\\n')\n"  # whole, beside the other's
        "jax.distributed.shutdown()\n"
    )
    run = Job("run", ("python", str(script)), tmp_path / "run", {"JAX_PLATFORMS": "cpu"}, hosts=2)
    assert send(run)[0] == 0
    assert (run.folder / "log.txt").read_text().count("one of 2") == 2


def test_a_run_that_is_trained_by_hand_is_left_alone(tmp_path, capfd):
    run = job(tmp_path / "run", 1)
    with locks.held(run.folder):
        assert local.going([run]) == {run.id: "is running already"}
        assert send(run)[0] == 0
    assert "is running already" in capfd.readouterr().out
    assert not (run.folder / "seen").exists()
    assert send(run)[0] == exit_code(run.folder) == 0


def test_a_file_system_without_locks_has_none(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(local.fcntl, "flock", flock)
    run = job(tmp_path / "run", 1)
    assert send(run)[0] == exit_code(run.folder) == 0
    assert local.going([run]) == {}


def test_what_cannot_be_written_stops_no_other_run(tmp_path, capfd):
    mute, missing, good = (tmp_path / name for name in ("mute", "missing", "good"))
    (mute / ".exit_code").mkdir(parents=True)
    missing.touch()
    assert send(*(job(folder, 1) for folder in (mute, missing, good)))[0] == 1
    printed = capfd.readouterr().out
    assert f"{mute}: exit_code cannot be written" in printed
    assert f"{missing}: cannot be started" in printed
    assert exit_code(good) == 0


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that makes this a machine with certain devices."""

    def having(*names):
        monkeypatch.setattr(local, "DEVICES", tmp_path / "dev")
        for name in ("nvidiactl", "nvidia-uvm", *names):
            (tmp_path / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "dev" / name).touch()

    for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    return having


def test_the_kind_of_a_machine_s_devices(machine):
    machine()
    assert local.hardware(options(hosts=2)) == (2, 2, "cpu")
    machine("vfio/0")
    assert local.hardware(options()) == (1, None, "tpu")
    machine("nvidia0", "nvidia1")
    assert local.hardware(options()) == (1, None, "gpu")
    assert local.hardware(options(env=[("JAX_PLATFORMS", "cpu")])) == (1, 1, "cpu")


@pytest.mark.parametrize(
    ("jobs", "hosts", "visible", "shares"),
    [
        (1, 1, None, [[None]]),
        (2, 1, None, [["0,1"], ["2,3"]]),
        (3, 1, None, [["0"], ["1"], ["2"]]),
        (1, 2, None, [["0,1", "2,3"]]),
        (2, 2, None, [["0", "1"], ["2", "3"]]),
        (2, 1, "1,3", [["1"], ["3"]]),
        (2, 1, "", [[None], [None]]),
    ],
)
def test_every_process_has_its_own_gpus(machine, jobs, hosts, visible, shares):
    machine(*(f"nvidia{i}" for i in range(4)))
    env = [] if visible is None else [("CUDA_VISIBLE_DEVICES", visible)]
    found = local.slots(options(jobs, hosts, env))
    assert [[one.get("CUDA_VISIBLE_DEVICES") for one in slot] for slot in found] == shares


def test_more_processes_than_gpus_are_refused(machine):
    machine("nvidia0", "nvidia1")
    with pytest.raises(UserError, match="3 processes for 2 GPUs"):
        local.hardware(options(jobs=3))


def test_runs_at_a_time_see_no_gpu_of_one_another_s(tmp_path, machine):
    machine("nvidia0", "nvidia1")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "own, other, gpu = sys.argv[1], sys.argv[2], os.environ['CUDA_VISIBLE_DEVICES']\n"
        "pathlib.Path(own, 'gpu').write_text(gpu)\n"
        "while not (there := pathlib.Path(other, 'gpu')).exists() or not there.read_text():\n"
        "    time.sleep(0.05)\n"
    )
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    both = [
        Job(f.name, ("python", str(script), str(f), str(other)), f)
        for f, other in zip(folders, reversed(folders))
    ]
    assert send(*both, parallel=2)[0] == 0
    assert {(folder / "gpu").read_text() for folder in folders} == {"0", "1"}
    shown = local.render(both, options(jobs=2)).splitlines()
    assert [line.split()[0] for line in shown] == [f"CUDA_VISIBLE_DEVICES={i}" for i in range(2)]


def test_the_dry_run_says_what_is_run(tmp_path):
    single, double = job(tmp_path / "run", 3), job(tmp_path / "run", 3, hosts=2)
    (line,) = local.render([single], options()).splitlines()
    assert line == f"{sys.executable} {COUNTER} {tmp_path / 'run'} 3"
    first, second = local.render([double], options(hosts=2)).splitlines()
    assert first.startswith("JAX_COORDINATOR_ADDRESS=127.0.0.1:PORT JAX_NUM_PROCESSES=2 ")
    assert second == first.replace("PROCESS_ID=0", "PROCESS_ID=1")
