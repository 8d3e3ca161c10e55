"""The manifests against Kubernetes' schemas and JobSet's models, and kubectl against a stand-in."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from launch import gke
from launch.job import Job
from launch.topology import KINDS
from vismem.errors import UserError
from vismem.planning.chips import GPUS

# What kubectl says of JobSets, kept in a file: nothing here was ever sent to a cluster.
KUBECTL = """#!{python}
import json, pathlib, sys, yaml
state = pathlib.Path({state!r})
sets = json.loads(state.read_text()) if state.exists() else {{}}
verb, *rest = [a for a in sys.argv[1:] if not a.startswith("--namespace")]
if verb == "create":
    new = yaml.safe_load(sys.stdin)
    name = new["metadata"]["name"]
    if name in sets:
        sys.exit(f'Error from server (AlreadyExists): jobsets.jobset.x-k8s.io "{{name}}" exists')
    sets[name] = new
elif verb == "delete":
    del sets[rest[1]]
elif verb == "get" and rest[1] in sets:
    print(json.dumps(sets[rest[1]]))
state.write_text(json.dumps(sets))
"""


def options(topology="v5e:4x4"):
    return argparse.Namespace(
        topology=topology,
        image="europe-docker.pkg.dev/p/vismem:1",
        checkout="/vismem",
        claim="runs",
        queue="research",
        namespace="default",
    )


def job(tmp_path, hosts=4, command=("python", "-m", "vismem", "train", "x.py")):
    return Job("v-x-0123456789", command, tmp_path / "run", {"XLA_FLAGS": "--a --b"}, hosts)


@pytest.mark.parametrize("topology", ["v5e:2x4", "v5e:4x4", "v5p:4x4x4", "h100:2x8"])
def test_kubernetes_would_take_it(tmp_path, topology):
    validate = pytest.importorskip("kubernetes_validate", reason="not compared with the schemas")
    (manifest,) = yaml.safe_load_all(gke.render([job(tmp_path)], options(topology)))
    spec = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run"}, "spec": spec}
    validate.validate(whole, "1.31", strict=True)
    whole["spec"] = spec | {"compleations": 4}
    with pytest.raises(validate.ValidationError):
        validate.validate(whole, "1.31", strict=True)


def test_no_field_is_lost_in_jobset_s_model(tmp_path):
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="not compared with JobSet's")
    manifest = gke.jobset(job(tmp_path), options())
    assert models.JobsetV1alpha2JobSet.from_dict(manifest).to_dict() == manifest


def test_a_slice_is_not_shared_and_a_gpu_pool_is(tmp_path):
    for topology, alone in (("v5e:4x4", True), ("h100:2x8", False)):
        annotations = gke.jobset(job(tmp_path), options(topology))["metadata"]["annotations"]
        assert any("exclusive-topology" in key for key in annotations) == alone


def test_a_pod_a_host_with_all_of_its_chips(tmp_path):
    for topology, hosts, chips in (("v5e:4x4", 4, 4), ("v5e:2x4", 1, 8), ("h100:2x8", 2, 8)):
        assert gke.hardware(options(topology))[0] == hosts
        spec = gke.jobset(job(tmp_path, hosts), options(topology))["spec"]["replicatedJobs"][0]
        spec = spec["template"]["spec"]
        assert spec["completions"] == spec["parallelism"] == hosts
        (limit,) = spec["template"]["spec"]["containers"][0]["resources"]["limits"].values()
        assert limit == chips


def test_the_rendered_command_runs_with_kubernetes_variables(tmp_path):
    """Two pods as two processes; the coordinator's name in the cluster's network is localhost's."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, jax\n"
        "jax.distributed.initialize(num_processes=int(os.environ['JAX_NUM_PROCESSES']),\n"
        "                           process_id=int(os.environ['JAX_PROCESS_ID']))\n"
        "print(jax.process_index(), jax.device_count(), os.environ['XLA_FLAGS'])\n"
        "jax.distributed.shutdown()\n"
    )
    run = job(tmp_path, 2, (sys.executable, str(script)))
    spec = gke.jobset(run, options("v5e:2x8"))["spec"]["replicatedJobs"][0]["template"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    pods = []
    for index in range(spec["completions"]):
        environment = {**os.environ, "KUBERNETES_SERVICE_HOST": "10.0.0.1", "JAX_PLATFORMS": "cpu"}
        for variable in container["env"]:
            value = variable.get("value", str(index))  # the one taken from the pod is its index
            environment[variable["name"]] = value.replace(f"{run.id}-run-0-0.{run.id}", "127.0.0.1")
        environment["XLA_FLAGS"] = ""
        pods.append(
            subprocess.Popen(
                container["command"], env=environment, stdout=subprocess.PIPE, text=True
            )
        )
    said = sorted(pod.communicate(timeout=300)[0].split() for pod in pods)
    assert said == [["0", "2"], ["1", "2"]]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The JobSets that the stand-in holds: a function to read them, or to set one's condition."""
    state, program = tmp_path / "jobsets.json", tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(KUBECTL.format(python=sys.executable, state=str(state)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def jobsets(condition=None):
        sets = json.loads(state.read_text())
        for jobset in sets.values() if condition else ():
            jobset["status"] = {"conditions": [{"type": condition, "status": "True"}]}
        state.write_text(json.dumps(sets))
        return sets

    return jobsets


def test_sending_twice_does_not_start_twice(tmp_path, cluster, capsys):
    said = []
    for condition in (None, None, "Suspended", "Completed", "Failed"):
        if said and condition:
            cluster(condition)
        assert gke.send([job(tmp_path)], options()) == 0
        said.append(capsys.readouterr().out.split(": ")[1].split(" (")[0])
    assert said == ["sent", "running already", "suspended already", "completed already", "sent"]
    (jobset,) = cluster().values()
    assert "status" not in jobset  # the failed one was replaced


def test_what_completed_says_how_to_train_it_anew(tmp_path, cluster, capsys):
    gke.send([job(tmp_path)], options())
    cluster("Completed")
    capsys.readouterr()
    gke.send([job(tmp_path)], options())
    remedy = capsys.readouterr().out.partition("anew: ")[2]
    assert subprocess.run(shlex.split(remedy)).returncode == 0
    gke.send([job(tmp_path)], options())
    assert ": sent (" in capsys.readouterr().out


@pytest.mark.parametrize("name", GPUS)
def test_nodes_have_the_memory_that_plans_reckon_with(name):
    gigabytes = re.search(r"(\d+)gb$", KINDS[name].gke)[1]
    assert int(gigabytes) * 1e9 == GPUS[name].memory


def test_no_kubectl_is_a_user_s_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="kubectl: not found"):
        gke.send([job(tmp_path)], options())
