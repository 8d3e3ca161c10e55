"""Runs as one Slurm job array, a task a run; a task that was preempted is queued again."""

import argparse
import hashlib
import os
import re
import shlex
import sys
from collections.abc import Sequence

from launch import topology
from launch.job import Job
from launch.programs import output
from vismem.cli import natural, positive
from vismem.errors import UserError
from vismem.reports.sweeps import EXIT_CODE

COMMENT = "vismem"  # of the arrays sent from here
SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --comment={comment}
#SBATCH --array=0-{last}%{parallel}
#SBATCH --nodes={hosts}
#SBATCH --ntasks-per-node=1
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@{grace}
{extra}
# runs: {ids}
case $SLURM_ARRAY_TASK_ID in
{cases}
esac
host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export JAX_COORDINATOR_ADDRESS=$host:$((20000 + SLURM_JOB_ID % 10000))
export JAX_NUM_PROCESSES={hosts}
mkdir -p "$folder"
rm -f "$folder/{exit_code}"
trap : TERM  # meant for the run, which saves and ends; this script outlives it
srun --wait=60 --output="$folder/log.txt" --open-mode=append \\
    bash -c 'export JAX_PROCESS_ID=$SLURM_PROCID; exec "$@"' - "${{command[@]}}"
code=$?
echo $code > "$folder/.{exit_code}" && mv "$folder/.{exit_code}" "$folder/{exit_code}"
# Saved (42), or told to end before there was anything to save (143): run me again. A job that was
# cancelled, or that Slurm queues again by itself, is no longer running by now; one that was
# preempted is, or is "signaling" while Slurm waits for its nodes to confirm that they told it. Of
# these Slurm may tell all processes to end once more: scontrol must outlive that, or nobody queues
# it.
trap '' TERM
task=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
if [ $code = 42 ] || [ $code = 143 ]; then
    scontrol show job $task | grep -Eq 'JobState=(RUNNING|SIGNALING)' && scontrol requeue $task
fi
exit $code
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=positive, default=4, help="runs at a time (4)")
    parser.add_argument("--nodes", type=positive, default=1, help="of each run (1)")
    parser.add_argument("--gpus", type=natural, default=0, help="of each node (0: its processors)")
    parser.add_argument(
        "--grace", type=positive, default=120, help="seconds to save before the end"
    )
    parser.add_argument(
        "--sbatch",
        nargs="*",
        default=(),
        metavar="OPTION=VALUE",
        help="as sbatch has them: partition=low time=4:00:00",
    )


def hardware(options: argparse.Namespace) -> tuple[int, int, str]:
    """Nodes and devices of a run, and their kind."""
    given = os.environ | dict(options.env)
    each = options.gpus or topology.cpu_devices(given)
    return options.nodes, options.nodes * each, "gpu" if options.gpus else "cpu"


def render(jobs: Sequence[Job], options: argparse.Namespace) -> str:
    """The script that sbatch gets."""
    extra = [f"#SBATCH --{option}" for option in options.sbatch]
    if options.gpus:
        extra.append(f"#SBATCH --gpus-per-node={options.gpus}")
        extra.append(f"export JAX_LOCAL_DEVICE_IDS={','.join(map(str, range(options.gpus)))}")
    extra += [f"export {k}={shlex.quote(v)}" for k, v in jobs[0].environment.items()]
    cases = [
        f"{i}) folder={shlex.quote(str(job.folder))}; command=({shlex.join(job.here)}) ;;"
        for i, job in enumerate(jobs)
    ]
    ids = " ".join(job.id for job in jobs)
    return SCRIPT.format(
        name=f"vismem-{hashlib.sha256(ids.encode()).hexdigest()[:10]}",
        comment=COMMENT,
        ids=ids,
        last=len(jobs) - 1,
        parallel=options.jobs,
        hosts=options.nodes,
        log=jobs[0].folder.parent / "slurm-%A_%a.log",
        grace=options.grace,
        extra="\n".join(extra),
        cases="\n".join(cases),
        exit_code=EXIT_CODE,
    )


def send(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Submits what is not in the queue already."""
    queued = live()
    new = [job for job in jobs if job.id not in queued]
    for job in jobs:
        if job.id in queued:
            print(f"{job.folder}: in the queue already, {queued[job.id]}")
    if not new:
        return 0
    new[0].folder.parent.mkdir(parents=True, exist_ok=True)
    number = slurm("sbatch", "--parsable", text=render(new, options)).split(";")[0].strip()
    for i, job in enumerate(new):
        print(f"{job.folder}: sent as {number}_{i} ({job.id})")
    return 0


def going(jobs: Sequence[Job]) -> dict[str, str]:
    """Run id -> where it is, of the runs that a dry run leaves out; none where Slurm does not
    answer, which is said."""
    try:
        queued = live()
    except UserError as error:
        said = " ".join(str(error).split())
        print(f"{said} (what the queue holds already is not left out)", file=sys.stderr)
        return {}
    return {j.id: f"in the queue already, {queued[j.id]}" for j in jobs if j.id in queued}


def live() -> dict[str, str]:
    """Run id -> job, of the tasks that are waiting or running."""
    found, sent = {}, {}
    lines = slurm("squeue", "--me", "--noheader", "--array", "--format=%F %A %K %k").splitlines()
    for array, number, task, *comment in map(str.split, lines):
        if comment == [COMMENT] and task.isdecimal():
            sent[array] = sent.get(array) or listed(number)
            if int(task) < len(sent[array]):
                found[sent[array][int(task)]] = f"job {number}"
    return found


def listed(number: str) -> list[str]:
    """The runs of the array that a job is of, by task: its script lists them, for which comments of
    Slurm's are too short."""
    try:
        script = slurm("scontrol", "write", "batch_script", number, "-")
    except UserError as error:
        if "Invalid job id" in str(error):  # it has ended since
            return []
        raise
    line = re.search("^# runs: (.*)$", script, re.MULTILINE)
    return line[1].split() if line else []


def slurm(*command: str, text: str | None = None) -> str:
    return output(command, "send to Slurm from one of its login nodes", text)
