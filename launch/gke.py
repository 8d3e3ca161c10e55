"""Runs as Kubernetes JobSets, queued by Kueue, on TPU slices or hosts with GPUs of GKE."""

import argparse
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from launch import topology
from launch.job import AGAIN, Job
from launch.programs import output
from launch.topology import Topology

RESTARTS = 3  # of a run that failed otherwise
GRACE = 120  # seconds to save before the end
PORT = 8476


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topology", required=True, help="of each run: v5e:16x16, h100:2x8")
    parser.add_argument("--image", required=True, help="container with this checkout installed")
    parser.add_argument("--checkout", default="/vismem", help="folder of it there (/vismem)")
    parser.add_argument("--claim", required=True, help="volume claim, mounted at CHECKOUT/runs")
    parser.add_argument("--queue", required=True, help="Kueue's local queue")
    parser.add_argument("--namespace", default="default", help="of the cluster (default)")


def hardware(options: argparse.Namespace) -> tuple[int, int, str]:
    """Hosts and chips of a run, and their kind."""
    machine = topology.parse(options.topology)
    return machine.hosts, machine.chips, "tpu" if machine.tpu else "gpu"


def render(jobs: Sequence[Job], options: argparse.Namespace) -> str:
    """The manifests that kubectl gets."""
    return yaml.safe_dump_all([jobset(job, options) for job in jobs], sort_keys=False)


def jobset(job: Job, options: argparse.Namespace) -> dict[str, Any]:
    """A JobSet of one Indexed Job with a pod a host.

    A pod that exits with 42 or is evicted restarts the whole set, as often as it takes; any other
    failure does so a few times.
    """
    machine = topology.parse(options.topology)
    at_once = {"action": "FailJob"}
    template = {
        "backoffLimit": 0,
        "completionMode": "Indexed",
        "completions": job.hosts,
        "parallelism": job.hosts,
        "podFailurePolicy": {
            "rules": [
                at_once | {"onExitCodes": {"operator": "In", "values": [AGAIN]}},
                at_once | {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"spec": pod(job, machine, options)},
    }
    again = {"name": "saved", "action": "RestartJobSetAndIgnoreMaxRestarts"}
    annotations = {"vismem/folder": str(job.folder)}
    if machine.tpu:  # a slice is a node pool, and is not shared
        pool = "cloud.google.com/gke-nodepool"
        annotations["alpha.jobset.sigs.k8s.io/exclusive-topology"] = pool
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": job.id,
            "namespace": options.namespace,
            "labels": {"kueue.x-k8s.io/queue-name": options.queue},
            "annotations": annotations,
        },
        "spec": {
            "failurePolicy": {
                "maxRestarts": RESTARTS,
                "rules": [again | {"onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [{"name": "run", "replicas": 1, "template": {"spec": template}}],
        },
    }


def pod(job: Job, machine: Topology, options: argparse.Namespace) -> dict[str, Any]:
    """The pod of a host. No shell wraps its command: it would keep SIGTERM to itself."""
    chips = machine.chips // machine.hosts
    checkout = PurePosixPath(options.checkout)
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "nodeSelector": selector(machine),
        "containers": [
            {
                "name": "vismem",
                "image": options.image,
                "workingDir": str(checkout),
                "command": list(job.command),
                "env": environment(job, machine),
                "resources": {
                    "limits": {"google.com/tpu" if machine.tpu else "nvidia.com/gpu": chips}
                },
                "volumeMounts": [{"name": "runs", "mountPath": str(checkout / "runs")}],
            }
        ],
        "volumes": [
            {"name": "runs", "persistentVolumeClaim": {"claimName": options.claim}},
        ],
    }


def selector(machine: Topology) -> dict[str, str]:
    """The labels of the nodes."""
    if not machine.tpu:
        return {"cloud.google.com/gke-accelerator": machine.kind.gke}
    return {
        "cloud.google.com/gke-tpu-accelerator": machine.kind.gke,
        "cloud.google.com/gke-tpu-topology": "x".join(map(str, machine.shape)),
    }


def environment(job: Job, machine: Topology) -> list[dict[str, Any]]:
    """Who coordinates, and which host this is: what jax would find out counts one Job only."""
    values = {
        **job.environment,
        # JobSet gives each pod a name in the network: set, job, its replica and the pod's index.
        "JAX_COORDINATOR_ADDRESS": f"{job.id}-run-0-0.{job.id}:{PORT}",
        "JAX_NUM_PROCESSES": str(job.hosts),
    }
    if not machine.tpu:
        devices = range(machine.chips // machine.hosts)
        values["JAX_LOCAL_DEVICE_IDS"] = ",".join(map(str, devices))
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        *({"name": name, "value": value} for name, value in values.items()),
        {"name": "JAX_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": index}}},
    ]


def send(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Creates the JobSets that are not there; those that failed are deleted first."""
    for job in jobs:
        state = condition(job, options)
        if state in ("running", "suspended", "completed"):
            delete = f"kubectl --namespace={options.namespace} delete jobset {job.id}"
            remedy = f"; to train it anew: {delete}" if state == "completed" else ""
            print(f"{job.folder}: {state} already ({job.id}){remedy}")
            continue
        if state == "failed":
            kubectl(options, "delete", "jobset", job.id, "--wait")
        kubectl(options, "create", "--filename=-", text=render([job], options))
        print(f"{job.folder}: sent ({job.id})")
    return 0


def condition(job: Job, options: argparse.Namespace) -> str | None:
    """How it stands with a JobSet: failed, completed, suspended or running; None: there is none."""
    found = kubectl(options, "get", "jobset", job.id, "--ignore-not-found", "--output=json")
    if not found:
        return None
    conditions = json.loads(found).get("status", {}).get("conditions", [])
    hold = {c["type"].lower() for c in conditions if c["status"] == "True"}
    return next((c for c in ("failed", "completed", "suspended") if c in hold), "running")


def kubectl(options: argparse.Namespace, *arguments: str, text: str | None = None) -> str:
    command = ("kubectl", f"--namespace={options.namespace}", *arguments)
    return output(command, "install it, and gcloud container get-credentials", text)
