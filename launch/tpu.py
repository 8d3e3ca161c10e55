"""Runs on Cloud TPU slices, asked for as queued resources; suspended ones are made anew.

`runs/` must be a file system that the TPU's hosts and this machine share.
"""

import argparse
import json
import shlex
import tempfile
import time
from collections.abc import Sequence

from launch import topology
from launch.job import Job
from launch.programs import output
from vismem.cli import positive
from vismem.errors import UserError
from vismem.reports.sweeps import EXIT_CODE

# Runs on every host, at each start of it.
STARTUP = """\
#!/bin/bash
mkdir -p /mnt/runs
mountpoint -q /mnt/runs || {mount} /mnt/runs
folder=/mnt/{folder}
mkdir -p "$folder"
code=42
while [ $code = 42 ]; do  # saved, run me again
    docker run --rm --privileged --network=host --stop-timeout=120 \\
        --volume=/mnt/runs:{checkout}/runs --workdir={checkout} {environment} \\
        {image} {command} >> "$folder/log-$(hostname).txt" 2>&1
    code=$?
done
case $code in
137 | 143) ;;  # the host is being taken away
*) echo $code > "$folder/.{exit_code}" && mv "$folder/.{exit_code}" "$folder/{exit_code}" ;;
esac
"""
PASSING = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED")  # errors


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topology", required=True, help="of each run: v5e:16x16")
    parser.add_argument("--project", required=True)
    parser.add_argument("--zone", required=True)
    parser.add_argument("--image", required=True, help="container with this checkout installed")
    parser.add_argument("--checkout", default="/vismem", help="folder of it there (/vismem)")
    parser.add_argument(
        "--mount", required=True, help="what mounts runs/: 'mount -t nfs 10.0.0.2:/share/runs'"
    )
    parser.add_argument("--spot", action="store_true", help="cheaper, and taken away at any time")
    parser.add_argument("--jobs", type=positive, default=1, help="runs at a time (1)")
    parser.add_argument("--poll", type=positive, default=60, help="seconds between two looks (60)")


def hardware(options: argparse.Namespace) -> tuple[int, int, str]:
    """Hosts and chips of a run, and their kind."""
    machine = topology.parse(options.topology)
    if not machine.tpu:
        raise UserError(f"--topology {options.topology}: not a TPU; send it with gke or slurm")
    return machine.hosts, machine.chips, "tpu"


def render(jobs: Sequence[Job], options: argparse.Namespace) -> str:
    """The gcloud commands, each with the script that its hosts run."""
    return "\n".join(
        f"{shlex.join(create(job, options, 'STARTUP'))}\n# STARTUP:\n{startup(job, options)}"
        for job in jobs
    )


def create(job: Job, options: argparse.Namespace, script: str) -> list[str]:
    """The command that asks for a slice which runs the startup script in the file `script`."""
    kind, chips = (machine := topology.parse(options.topology)).kind, machine.chips
    return [
        *gcloud(options, "create", job.id),
        f"--node-id={job.id}",
        f"--accelerator-type={kind.gcloud}-{kind.units * chips}",
        f"--runtime-version={kind.runtime}",
        f"--metadata-from-file=startup-script={script}",
        *(["--spot"] if options.spot else []),
        "--async",
    ]


def gcloud(options: argparse.Namespace, verb: str, *rest: str) -> list[str]:
    where = [f"--project={options.project}", f"--zone={options.zone}"]
    return ["gcloud", "compute", "tpus", "queued-resources", verb, *rest, *where]


def startup(job: Job, options: argparse.Namespace) -> str:
    """What every host does. jax finds the coordinator and the host's number by itself."""
    values = {**job.environment, "JAX_NUM_PROCESSES": str(job.hosts)}
    return STARTUP.format(
        mount=options.mount,
        folder=job.folder,
        checkout=shlex.quote(options.checkout),
        environment=" ".join(shlex.quote(f"--env={k}={v}") for k, v in values.items()),
        image=shlex.quote(options.image),
        command=shlex.join(job.command),
        exit_code=EXIT_CODE,
    )


def send(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Asks for a slice a run, and watches until every run has ended.

    It may be stopped and started at any time: all it needs to know is in the cloud and in runs/.

    Returns:
      0, or 1 if a run failed.
    """
    waiting, active, failed = list(jobs), [], False
    while waiting or active:
        while waiting and len(active) < options.jobs:
            active.append(waiting.pop(0))
        for job in list(active):
            try:
                code = step(job, options)
            except Passing as error:
                print(f"{job.folder}: {error}; trying again", flush=True)
                continue
            if code is not None:
                active.remove(job)
                failed |= code != 0
                print(f"{job.folder}: {'done' if code == 0 else f'failed ({code})'}", flush=True)
        options.status({job.folder for job in active})
        if active:
            time.sleep(options.poll)
    return int(failed)


def step(job: Job, options: argparse.Namespace) -> int | None:
    """Does what the state of a run's slice asks for; returns the exit code of a run that ended."""
    found = call(gcloud(options, "describe", job.id, "--format=json(state)"))
    state = json.loads(found)["state"]["state"] if found else None
    delete = [*gcloud(options, "delete", job.id), "--force", "--quiet", "--async"]
    ended = job.folder / EXIT_CODE
    if state is None:
        ended.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(startup(job, options))
            script.flush()
            call(create(job, options, script.name))
        print(f"{job.folder}: sent ({job.id})", flush=True)
    elif state == "DELETING":
        pass  # it can be made anew when it is gone
    elif ended.exists():
        call(delete)
        return int(ended.read_text())
    elif state == "SUSPENDED":
        call(delete)
        print(f"{job.folder}: suspended; asking for another slice", flush=True)
    elif state == "FAILED":
        call(delete)
        raise UserError(f"{job.folder}: Cloud TPU could not provide {options.topology}: {found}")
    return None


class Passing(UserError):
    """An error of the cloud's that another try may not meet."""


def call(command: Sequence[str]) -> str:
    """What gcloud prints; "" if what it is about does not exist or, to be made, exists already."""
    try:
        return output(command, "cloud.google.com/sdk/docs/install")
    except UserError as error:
        said = " ".join(str(error).split())
        if "NOT_FOUND" in said or "ALREADY_EXISTS" in said:
            return ""
        if any(name in said for name in PASSING):
            raise Passing(said) from None
        raise
