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
until mountpoint -q /mnt/runs || {mount} /mnt/runs; do  # never onto the host's own disk
    sleep 10
done
folder=/mnt/{folder}
mkdir -p "$folder"
touch "$folder/{started}"
code=42
while [ $code = 42 ]; do  # saved, run me again
    docker run --rm --privileged --network=host --stop-timeout=120 \\
        --volume=/mnt/runs:{checkout}/runs --workdir={checkout} {environment} \\
        {image} {command} >> "$folder/log-$(hostname).txt" 2>&1
    code=$?
    # A host that is being taken away ends what runs on it: it has not failed.
    [ $code != 0 ] && [ "$(systemctl is-system-running)" = stopping ] && exit
done
echo $code > "$folder/.{exit_code}" && mv "$folder/.{exit_code}" "$folder/{exit_code}"
"""
STARTED = "started"  # a file in a run's folder, which the hosts of its slice make
SILENCE = 900.0  # seconds that an active slice's hosts have to do so
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
        started=STARTED,
        exit_code=EXIT_CODE,
    )


def clear(jobs: Sequence[Job], options: argparse.Namespace) -> None:
    """Deletes the slices of runs that ended while nobody watched."""
    ended = {job.id: job for job in jobs if (job.folder / EXIT_CODE).exists()}
    if not ended:
        return
    for found in json.loads(call(gcloud(options, "list", "--format=json(name,state)"))):
        job = ended.get(found["name"].split("/")[-1])
        if job and found["state"]["state"] != "DELETING":
            call(delete(job, options))
            print(f"{job.folder}: ended unwatched; its slice is deleted", flush=True)


def send(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Asks for a slice a run, and watches until every run has ended.

    It may be stopped and started at any time: all it needs to know is in the cloud and in runs/.

    Returns:
      0, or 1 if a run failed.
    """
    for job in jobs:
        (job.folder / EXIT_CODE).unlink(missing_ok=True)  # of an earlier attempt
    waiting, active, failed, silent = list(jobs), [], False, {}
    while waiting or active:
        while waiting and len(active) < options.jobs:
            active.append(waiting.pop(0))
        for job in list(active):
            try:
                code = step(job, options, silent)
                said = "done" if code == 0 else f"failed ({code})"
            except Passing as error:
                print(f"{job.folder}: {error}; trying again", flush=True)
                continue
            except Failed as error:
                code, said = 1, f"failed: {error}"
            if code is not None:
                active.remove(job)
                failed |= code != 0
                print(f"{job.folder}: {said}", flush=True)
        options.status({job.folder for job in active})
        if active:
            time.sleep(options.poll)
    return int(failed)


def step(job: Job, options: argparse.Namespace, silent: dict[str, float]) -> int | None:
    """Does what the state of a run's slice asks for; returns the exit code of a run that ended.

    Args:
      silent: run id -> since when its slice is active and its hosts have not written to runs/.
    """
    found = call(gcloud(options, "describe", job.id, "--format=json(state)"))
    state = json.loads(found)["state"]["state"] if found else None
    ended, started = job.folder / EXIT_CODE, job.folder / STARTED
    if ended.exists():
        if state not in (None, "DELETING"):
            call(delete(job, options))
        return int(ended.read_text())
    if state is None:
        started.unlink(missing_ok=True)
        silent.pop(job.id, None)
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(startup(job, options))
            script.flush()
            call(create(job, options, script.name))
        print(f"{job.folder}: sent ({job.id})", flush=True)
    elif state == "SUSPENDED":
        call(delete(job, options))
        print(f"{job.folder}: suspended; asking for another slice", flush=True)
    elif state == "FAILED":
        call(delete(job, options))
        said = " ".join(found.split())
        raise Failed(f"Cloud TPU could not provide {options.topology}: {said}")
    elif state == "ACTIVE" and not started.exists():
        since = silent.setdefault(job.id, time.monotonic())
        if time.monotonic() - since > SILENCE:
            call(delete(job, options))
            raise Failed(
                f"its hosts have not come to {started} in {SILENCE / 60:.0f} minutes; make --mount "
                "mount there what runs/ is here"
            )
    return None  # one that is being deleted can be made anew when it is gone


def delete(job: Job, options: argparse.Namespace) -> list[str]:
    return [*gcloud(options, "delete", job.id), "--force", "--quiet", "--async"]


class Failed(Exception):
    """A run that has come to nothing, without an exit code of its own."""


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
