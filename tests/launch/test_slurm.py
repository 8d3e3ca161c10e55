"""A real Slurm on this machine: two nodes, an array, a preemption, and a requeue that resumes."""

import argparse
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from launch import slurm
from launch.job import Job
from vismem.errors import UserError

CONF = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname=localhost Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname=localhost Port={ports[2]} CPUs=1
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 GraceTime=20 State=UP
PartitionName=high Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF State=UP
"""

COUNTER = str(Path(__file__).with_name("counter.py"))

needs_slurm = pytest.mark.skipif(
    not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))),
    reason="no Slurm here (Debian: slurm-wlm, munge): nothing was submitted",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, ports=ports, user=getpass.getuser()))
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(bytes(range(256)))
    key.chmod(0o400)
    files = {"key": key, "socket": folder / "munge.socket", "pid": folder / "munged.pid"}
    files |= {"log": folder / "munged.log", "seed": folder / "munged.seed"}
    munge = [f"--{k}{'' if k == 'socket' else '-file'}={path}" for k, path in files.items()]
    subprocess.run(["munged", "--force", *munge], check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(conf))
        try:
            for daemon in (["slurmctld"], ["slurmd", "-N", "n1"], ["slurmd", "-N", "n2"]):
                subprocess.run(daemon, check=True, capture_output=True)
            eventually(lambda: run("sinfo", "-h", "-p", "low", "-o", "%D %t") == "2 idle")
            yield
        finally:
            for pid in folder.glob("*.pid"):
                subprocess.run(["kill", pid.read_text().strip()], check=False)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def eventually(holds, seconds=120):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, run("squeue", "--array")
        time.sleep(0.3)


def options(**kwargs):
    return argparse.Namespace(
        **{"jobs": 2, "nodes": 1, "gpus": 0, "grace": 20, "sbatch": ("partition=low",), "env": ()}
        | kwargs
    )


def counter(tmp_path, name, *arguments):
    folder = tmp_path / "runs" / name
    command = ("python", COUNTER, str(folder), *map(str, arguments))
    return Job(f"v-{name}", command, folder, {"GREETING": "it's me"})


def text(path):
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
@needs_slurm
def test_a_preempted_task_goes_on_where_it_was(cluster, tmp_path, capsys):
    counts = {"one": (150,), "two": (20,), "bad": (1, 7)}
    jobs = [counter(tmp_path, name, *count) for name, count in counts.items()]
    slurm.send(jobs, options())
    assert re.fullmatch(r"(.*: sent as \d+_\d \(v-\w+\)\n){3}", capsys.readouterr().out)

    # Sent again, nothing is started twice.
    slurm.send(jobs, options())
    assert capsys.readouterr().out.count("in the queue already") == 3
    assert len(run("squeue", "-h", "--array").splitlines()) == 3

    # Somebody more important takes both nodes.
    eventually(lambda: int(text(jobs[0].folder / "seen") or 0) > 3)
    run("srun", "--partition=high", "--nodes=2", "true")
    assert int(text(jobs[0].folder / "count")) > 3
    for task in run("squeue", "-h", "--array", "--states=PD", "-o", "%i").splitlines():
        # Slurm holds back what it requeues for two minutes.
        subprocess.run(["scontrol", "update", f"JobId={task}", "StartTime=now"])
    eventually(lambda: not run("squeue", "-h"))
    first, second = re.findall(r"from (\d+)", text(jobs[0].folder / "log.txt"))
    assert first == "0"
    assert second == text(jobs[0].folder / "count")
    assert [text(job.folder / "exit_code") for job in jobs] == ["0\n", "0\n", "7\n"]


@needs_slurm
def test_a_long_array_is_known_in_the_queue(cluster, tmp_path):
    """Longer than a comment of Slurm's could list."""
    jobs = [counter(tmp_path, f"of-many-{i}", 1) for i in range(200)]
    slurm.send(jobs, options(sbatch=("partition=low", "hold")))
    try:
        assert slurm.going(jobs).keys() == {job.id for job in jobs}
    finally:
        run("scancel", "--me")
    eventually(lambda: not run("squeue", "-h"))
    assert slurm.listed("4000000") == []  # of a job that has ended


@needs_slurm
def test_what_is_cancelled_stays_so(cluster, tmp_path):
    job = counter(tmp_path, "cancelled", 1_000)
    slurm.send([job], options())
    eventually(lambda: text(job.folder / "seen"))
    run("scancel", "--me")
    eventually(lambda: text(job.folder / "exit_code") == "42\n")
    eventually(lambda: not run("squeue", "-h"))


@needs_slurm
def test_a_run_over_two_nodes(cluster, tmp_path):
    (tmp_path / "hello.py").write_text(
        "import os\nprint(*(os.environ[f'JAX_{n}'] for n in "
        "('PROCESS_ID', 'NUM_PROCESSES', 'COORDINATOR_ADDRESS')), os.environ['GREETING'])"
    )
    job = Job(
        "v-hello", ("python", str(tmp_path / "hello.py")), tmp_path / "run", {"GREETING": "hi"}, 2
    )
    slurm.send([job], options(nodes=2))
    eventually(lambda: text(job.folder / "exit_code") == "0\n")
    said = sorted(line.split() for line in text(job.folder / "log.txt").splitlines())
    assert [line[:2] for line in said] == [["0", "2"], ["1", "2"]]
    assert said[0][2:] == said[1][2:]
    assert re.fullmatch(r"n1:\d+", said[0][2])


@pytest.mark.parametrize(
    ("state", "again"),
    [("RUNNING", True), ("SIGNALING", True), ("COMPLETING", False), ("CANCELLED", False)],
)
def test_what_is_told_to_end_twice_is_queued_again(tmp_path, state, again):
    """Once the run has saved, a second signal to all processes of the job changes nothing. What
    Slurm has done with already is left alone."""
    commands = {
        "srun": "exit 42",
        "scontrol": f"""
            case $1 in
            show) [ $2 = job ] && touch {tmp_path}/asked && sleep 0.5; echo JobState={state} ;;
            requeue) touch {tmp_path}/requeued ;;
            esac""",
    }
    (tmp_path / "bin").mkdir()
    for name, body in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    task = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_JOB_ID": "1", "SLURM_JOB_ID": "1"}
    script = subprocess.Popen(
        ["bash", "-c", slurm.render([counter(tmp_path, "one", 3)], options())],
        env=os.environ | task | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    eventually((tmp_path / "asked").exists)
    os.killpg(script.pid, signal.SIGTERM)
    assert script.wait(timeout=60) == 42
    assert (tmp_path / "requeued").exists() == again


def test_what_is_in_the_queue_is_asked_of_the_scripts(tmp_path, monkeypatch):
    """Of one array once; what has ended since, and what others sent, is not there."""
    jobs = [counter(tmp_path, name, 1) for name in ("one", "two", "three")]
    asked = []

    def stand_in(command, *arguments, text=None):
        if command == "squeue":
            ours = "5 5 1 vismem\n5 7 0 vismem\n8 8 0 vismem\n"
            return f"{ours}9 9 N/A (null)\n9 9 0 my own\n9 9 N/A vismem\n"
        asked.append(arguments[2])
        if arguments[2] == "8":
            raise UserError("scontrol: job script retrieval failed: Invalid job id specified")
        return slurm.render(jobs, options())

    monkeypatch.setattr(slurm, "slurm", stand_in)
    assert slurm.live() == {jobs[1].id: "job 5", jobs[0].id: "job 7"}
    assert asked == ["5", "8"]


def test_no_slurm_is_a_user_s_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="login node"):
        slurm.live()


def test_gpus_are_asked_for_and_named(tmp_path):
    script = slurm.render([counter(tmp_path, "one", 3)], options(gpus=4, nodes=2))
    assert "#SBATCH --gpus-per-node=4\n" in script
    assert "export JAX_LOCAL_DEVICE_IDS=0,1,2,3\n" in script
    assert "export GREETING='it'\"'\"'s me'\n" in script
    assert slurm.hardware(options(gpus=4, nodes=2)) == (2, 8, "gpu")
