"""The real gcloud, if it is here, or a stand-in for it, against a stand-in of Cloud TPU's API.

The API's, on loopback, answers as cloud.google.com/tpu/docs/reference/rest documents; nothing was
ever sent to Google.
"""

import argparse
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from launch import programs, tpu
from launch.job import Job
from vismem.errors import UserError

needs_gcloud = pytest.mark.skipif(
    not shutil.which("gcloud"), reason="no gcloud here: its commands were not tried"
)
# What gcloud asks the API for, and how it words its errors.
GCLOUD = """#!{python}
import json, os, sys, urllib.error, urllib.request
verb, name, *_ = sys.argv[4:]
given = dict(option.removeprefix("--").partition("=")[::2] for option in sys.argv[5:])
where = "v2/projects/{{project}}/locations/{{zone}}/queuedResources".format(**given)
url, data = os.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU"] + where, None
if verb == "create":
    key, _, file = given["metadata-from-file"].partition("=")
    node = {{"acceleratorType": given["accelerator-type"]}}
    node |= {{"runtimeVersion": given["runtime-version"], "metadata": {{key: open(file).read()}}}}
    body = {{"tpu": {{"nodeSpec": [{{"nodeId": given["node-id"], "node": node}}]}}}}
    body |= {{"spot": {{}}}} if "spot" in given else {{}}
    method, url, data = "POST", f"{{url}}?queuedResourceId={{name}}", json.dumps(body).encode()
elif verb == "delete":
    method, url = "DELETE", f"{{url}}/{{name}}?force={{'force' in given}}"
elif verb == "describe":
    method, url = "GET", f"{{url}}/{{name}}"
elif verb == "list":
    method = "GET"
direct = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
try:
    answer = json.load(direct.open(urllib.request.Request(url, data, method=method)))
    print(json.dumps(answer["queuedResources"] if verb == "list" else answer))
except urllib.error.HTTPError as answer:
    error = json.load(answer)["error"]
    command = f"gcloud.compute.tpus.queued-resources.{{verb}}"
    sys.exit(f"ERROR: ({{command}}) {{error['status']}}: {{error['message']}}")
"""
PARENT = "/v2/projects/p/locations/us-central1-a/queuedResources"


def options(**kwargs):
    defaults = {
        "topology": "v5e:4x4",
        "project": "p",
        "zone": "us-central1-a",
        "image": "vismem:1",
        "checkout": "/vismem",
        "mount": "mount -t nfs 10.0.0.2:/share",
        "spot": True,
        "jobs": 2,
        "poll": 0,
        "status": lambda _: None,
    }
    return argparse.Namespace(**defaults | kwargs)


def job(tmp_path, name="v-x-0123456789"):
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    return Job(name, ("python", "-m", "vismem", "train", "it's.py"), folder, {"A": "b c"}, 4)


class Cloud(http.server.ThreadingHTTPServer):
    """Queued resources, each of which goes through the states of a plan, one a look.

    Attributes:
      plans: for every time a resource is made: its states; "done N": its run ends with code N.
      errors: HTTP codes that the next requests get instead of an answer.
      made: bodies of the requests to make one. deleted: how many were.
    """

    def __init__(self, plans, folder):
        super().__init__(("127.0.0.1", 0), Answer)
        self.plans, self.folder = list(plans), folder
        self.live, self.errors, self.made, self.deleted = {}, [], [], 0


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.split("?")[0].removeprefix(f"{PARENT}/")
        if name == PARENT:
            live = self.server.live.items()
            found = [{"name": f"{PARENT[4:]}/{n}", "state": {"state": s[0]}} for n, s in live]
            return self.answer({"queuedResources": found})
        states = self.server.live.get(name)
        if not states:
            self.server.live.pop(name, None)
            return self.fail(404, "NOT_FOUND", f"Resource '{PARENT}/{name}' was not found")
        state = states[0] if len(states) == 1 and states[0] != "DELETING" else states.pop(0)
        if state.startswith("done"):
            (self.server.folder / "exit_code").write_text(state.split()[1])
            state = "ACTIVE"
        return self.answer({"name": name, "state": {"state": state}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = re.search("queuedResourceId=([^&]+)", self.path)[1]
        if name in self.server.live:
            return self.fail(409, "ALREADY_EXISTS", f"Resource '{name}' already exists")
        self.server.made.append(body)
        self.server.live[name] = list(self.server.plans.pop(0))
        return self.answer({"name": "projects/p/locations/us-central1-a/operations/1"})

    def do_DELETE(self):
        name = self.path.split("?")[0].removeprefix(f"{PARENT}/")
        assert "force=True" in self.path
        self.server.deleted += 1
        self.server.live[name] = ["DELETING"]
        return self.answer({"name": "projects/p/locations/us-central1-a/operations/2"})

    def answer(self, content, code=200):
        if self.server.errors and code == 200:
            return self.fail(*self.server.errors.pop(0))
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def fail(self, code, status, message):
        self.answer({"error": {"code": code, "message": message, "status": status}}, code)

    def log_message(self, *_):
        pass


@pytest.fixture(params=["stand-in", pytest.param("gcloud", marks=[pytest.mark.slow, needs_gcloud])])
def cloud(request, tmp_path, monkeypatch):
    servers = []
    if request.param == "stand-in":
        program = tmp_path / "bin" / "gcloud"
        program.parent.mkdir()
        program.write_text(GCLOUD.format(python=sys.executable))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def start(plans, folder):
        server = Cloud(plans, folder)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = {
            "API_ENDPOINT_OVERRIDES_TPU": f"http://127.0.0.1:{server.server_port}/",
            "AUTH_DISABLE_CREDENTIALS": "true",
            "CORE_DISABLE_USAGE_REPORTING": "true",
            "CONFIG": str(tmp_path / "gcloud"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"CLOUDSDK_{name}", value)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_suspended_slice_is_made_anew(tmp_path, cloud, capsys):
    run = job(tmp_path)
    (run.folder / "exit_code").write_text("1")  # of an earlier attempt
    server = cloud([["ACTIVE", "SUSPENDED"], ["done 0"]], run.folder)
    assert tpu.send([run], options()) == 0
    said = [line.split(": ")[1].split(" (")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["sent", "suspended; asking for another slice", "sent", "done"]
    assert server.deleted == 2
    first, second = server.made
    assert first == second
    assert first["spot"] == {}
    (node,) = first["tpu"]["nodeSpec"]
    assert node["nodeId"] == run.id
    assert node["node"]["acceleratorType"] == "v5litepod-16"
    script = node["node"]["metadata"]["startup-script"]  # some versions of gcloud cut its end
    assert script.rstrip("\n") == tpu.startup(run, options()).rstrip("\n")


def test_what_is_there_is_watched_and_not_sent_again(tmp_path, cloud, capsys):
    run = job(tmp_path)
    server = cloud([], run.folder)
    server.live[run.id] = ["ACTIVE", "done 3"]
    server.errors = [(503, "UNAVAILABLE", "The service is currently unavailable.")] * 1
    assert tpu.send([run], options()) == 1
    assert server.made == server.errors == []
    assert server.deleted == 1
    assert "failed (3)" in capsys.readouterr().out


def test_what_no_other_try_would_change_is_said(tmp_path, cloud):
    run = job(tmp_path)
    server = cloud([], run.folder)
    server.live[run.id] = ["ACTIVE"]
    server.errors = [(403, "PERMISSION_DENIED", "Permission tpu.queuedResources.get denied")]
    with pytest.raises(UserError, match="PERMISSION_DENIED"):
        tpu.send([run], options())
    assert server.deleted == 0


def test_a_slice_that_cannot_be_had_ends_no_other_s_watching(tmp_path, cloud, capsys):
    run, other = job(tmp_path), job(tmp_path, "v-x-9876543210")
    server = cloud([["ACTIVE", "done 0"]], other.folder)
    server.live[run.id] = ["FAILED"]
    assert tpu.send([run, other], options()) == 1
    assert server.deleted == 2
    printed = capsys.readouterr().out
    assert f"{run.folder}: failed: Cloud TPU could not provide v5e:4x4" in printed
    assert f"{other.folder}: done" in printed


def test_hosts_that_do_not_come_are_a_failure(tmp_path, cloud, capsys, monkeypatch):
    """Of a slice whose hosts have come nothing is said, however long it takes."""
    monkeypatch.setattr(tpu, "SILENCE", 0.0)
    run, other = job(tmp_path), job(tmp_path, "v-x-9876543210")
    server = cloud([[*["ACTIVE"] * 4, "FAILED"]], other.folder)
    server.live[other.id] = ["ACTIVE", "ACTIVE", "ACTIVE", "done 0"]
    (run.folder / "started").touch()  # by an earlier attempt
    (other.folder / "started").touch()
    assert tpu.send([run, other], options()) == 1
    printed = capsys.readouterr().out
    assert f"{run.folder}: failed: its hosts have not come" in printed
    assert f"{other.folder}: done" in printed
    assert server.deleted == 2


def test_what_ended_unwatched_is_deleted_and_sent_at_once(tmp_path, cloud, capsys):
    done, broken, on, other = (job(tmp_path, f"v-{n}") for n in ("done", "broken", "on", "other"))
    (done.folder / "exit_code").write_text("0\n")
    (broken.folder / "exit_code").write_text("1\n")
    (other.folder / "exit_code").write_text("1\n")  # and its slice is gone
    server = cloud([["done 0"]], broken.folder)
    server.live = {run.id: ["ACTIVE"] for run in (done, broken, on)}
    tpu.clear([done, broken, on, other], options())
    assert server.live == {done.id: ["DELETING"], broken.id: ["DELETING"], on.id: ["ACTIVE"]}
    assert server.deleted == capsys.readouterr().out.count("its slice is deleted") == 2
    tpu.clear([done, broken, on, other], options())
    assert server.deleted == 2
    assert tpu.send([broken], options()) == 0
    said = [line.split(": ")[1].split(" (")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["sent", "done"]


def test_passing_errors_are_told_from_others(tmp_path, monkeypatch, capsys):
    said = iter(["UNAVAILABLE: later", "RESOURCE_EXHAUSTED: quota", "INVALID_ARGUMENT: v9"])

    def gcloud(command, **_):
        return subprocess.CompletedProcess(command, 1, "", f"ERROR: (gcloud) {next(said)}")

    monkeypatch.setattr(programs.subprocess, "run", gcloud)
    with pytest.raises(UserError, match="INVALID_ARGUMENT"):
        tpu.send([job(tmp_path)], options())
    assert capsys.readouterr().out.count("trying again") == 2


def test_the_dry_run_says_what_is_sent(tmp_path, monkeypatch):
    run, sent = job(tmp_path), []

    def gcloud(command):
        sent.append(command)
        [script] = [part.partition("startup-script=")[2] for part in command if "script=" in part]
        assert Path(script).read_text() == tpu.startup(run, options())

    monkeypatch.setattr(tpu, "call", lambda command: gcloud(command) if "create" in command else "")
    tpu.step(run, options(), {})
    [command] = sent
    shown = shlex.split(tpu.render([run], options()).splitlines()[0])
    assert [part.partition("script=")[0] for part in shown] == [
        part.partition("script=")[0] for part in command
    ]


def boot(run, mount, tmp_path, system="running", codes="0"):
    """The startup script for real, with stand-ins for what is of the machine's; docker ends with
    these codes. Returns the run's folder."""
    (tmp_path / "codes").write_text(codes.replace(" ", "\n") + "\n")
    programs = {
        "docker": f'echo "$@"; code=$(head -n 1 {tmp_path}/codes)\n'
        f"sed -i 1d {tmp_path}/codes; exit $code",
        "systemctl": f"echo {system}",
        "sleep": "",
        "mount": f"echo once more >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) = 3 ]",
    }
    (tmp_path / "bin").mkdir()
    for name, body in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    script = tpu.startup(run, options(mount=mount)).replace("/mnt/", f"{tmp_path}/")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", script], env={"PATH": path}, timeout=60)
    return tmp_path / run.folder


def test_a_host_waits_for_its_mount(tmp_path):
    run = replace(job(tmp_path), folder=Path("runs/v-x-0123456789"))
    folder = boot(run, "mount -t nfs 10.0.0.2:/share", tmp_path)
    assert (tmp_path / "tries").read_text().count("once more") == 3
    assert (folder / tpu.STARTED).exists()
    assert (folder / "exit_code").read_text() == "0\n"


@pytest.mark.parametrize(
    ("codes", "system", "ends"),
    [
        ("42 42 0", "running", "0"),
        ("42 5", "running", "5"),
        ("137", "running", "137"),  # killed for memory
        ("137", "stopping", None),  # with the host
        ("42 0", "stopping", None),
    ],
)
def test_a_host_starts_what_saved_again(tmp_path, codes, system, ends):
    run = replace(job(tmp_path), folder=Path("runs/v-x-0123456789"))
    folder = boot(run, "true", tmp_path, system, codes)
    (log,) = folder.glob("log-*.txt")
    lines = log.read_text().splitlines()
    assert len(lines) == (1 if system == "stopping" else len(codes.split()))
    assert "--env=A=b c --env=JAX_NUM_PROCESSES=4 vismem:1 python -m vismem train" in lines[0]
    found = folder / "exit_code"
    assert (found.read_text().strip() if found.exists() else None) == ends


@pytest.mark.parametrize(
    ("topology", "accelerator"),
    [
        ("v5e:2x4", "v5litepod-8"),
        ("v4:2x2x2", "v4-16"),
        ("v5p:2x2x2", "v5p-16"),
        ("v6e:4x4", "v6e-16"),
    ],
)
def test_accelerator_types_count_chips_or_cores(tmp_path, topology, accelerator):
    command = tpu.create(job(tmp_path), options(topology=topology), "file")
    assert f"--accelerator-type={accelerator}" in command


def test_gpus_are_not_for_here():
    with pytest.raises(UserError, match="not a TPU"):
        tpu.hardware(options(topology="h100:1x8"))
