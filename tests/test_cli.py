"""The commands; and a user's mistakes: one line on stderr, exit code 2, no traceback."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import vismem
from vismem import __main__, cli, commands
from vismem.errors import UserError

EXPERIMENT = """
from ml_collections import ConfigDict

def get_config(argument):
    return ConfigDict({
        "batch_size": 8,
        "steps": 2,
        "data": {
            "source": {"name": "world"},
            "size": 32,
            "tokenizer": {"name": "byte", "length": 24},
        },
        "objective": {"name": "flow"},
        "text": {"name": "transformer"},
        "vision": {"name": "patches"},
        "fusion": {"name": "concat"},
        "painter": {"width": 16, "layers": 1, "heads": 2},
        "optimizer": {"name": "adamw", "lr": 1e-3},
    })
"""


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(EXPERIMENT)
    return str(path)


@pytest.fixture
def fails(capsys):
    """Runs a command line that must fail; returns its one line."""

    def run(*argv):
        try:
            code = cli.main(list(argv))
        except SystemExit as exit:  # argparse's own errors
            code = exit.code
        captured = capsys.readouterr()
        assert code == 2
        assert captured.err.startswith("vismem")
        assert captured.err.count("\n") == 1
        return captured.err

    return run


@pytest.mark.parametrize("command", ["train", "--help"])
def test_the_installed_command_starts_itself_again_with_memory_that_it_keeps(command, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda *call: started.append(call))
    monkeypatch.setattr(cli, "main", lambda: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "argv", ["vismem", command])
    monkeypatch.setattr(sys, "orig_argv", ["python", "bin/vismem", command])
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # to be taken away again
    monkeypatch.delenv("GLIBC_TUNABLES")
    again = [(sys.executable, [sys.executable, "bin/vismem", command])]
    assert __main__.main() == 0
    assert started == (again if command == "train" else [])
    assert __main__.main() == 0  # what was started does not start again
    assert len(started) <= 1


@pytest.mark.parametrize(("reserved", "page"), [("0\n", 1 << 30), ("4\n", 1), (None, 1)])
def test_pages_that_are_reserved_for_somebody_are_not_taken(reserved, page, tmp_path, monkeypatch):
    monkeypatch.setattr(__main__, "LARGEST_PAGES", tmp_path / "nr_hugepages")
    if reserved:
        (tmp_path / "nr_hugepages").write_text(reserved)
    settings = dict(s.split("=") for s in __main__.memory_settings()["GLIBC_TUNABLES"].split(":"))
    assert settings["glibc.malloc.hugetlb"] == str(page)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's setting")
def test_memory_as_large_as_a_steps_is_kept():
    code = (
        "import ctypes, resource, threading\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]\n"
        "libc.free.argtypes = [ctypes.c_void_p]\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def steps():\n"
        "    for n in range(3):\n"
        "        before, memory = faults(), libc.malloc(200 << 20)\n"
        "        ctypes.memset(memory, 1, 200 << 20)\n"
        "        libc.free(memory)\n"
        "    print(faults() - before)\n"
        "thread = threading.Thread(target=steps)\n"  # as XLA, not the first thread
        "thread.start(); thread.join()"
    )
    environment = os.environ | __main__.memory_settings()
    if environment["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1":
        pytest.skip("no pages of 1 GB, or reserved ones")
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert int(found.stdout) < 50  # of 51,200, or of 100 huge ones


@pytest.mark.parametrize(
    ("flags", "given", "threads"),
    [
        ("--xla_force_host_platform_device_count=8", None, "16"),
        ("--xla_force_host_platform_device_count=8", "4", "4"),
        ("--xla_dump_to=here", None, None),
    ],
)
def test_virtual_devices_get_threads_enough(flags, given, threads, monkeypatch):
    monkeypatch.setattr(cli, "main", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["vismem", "--help"])
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setenv("PJRT_NPROC", given or "")  # to be taken away again
    if given is None:
        monkeypatch.delenv("PJRT_NPROC")
    assert __main__.main() == 0
    assert os.environ.get("PJRT_NPROC") == threads


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimizer.lrr=1", "optimizer.lrr=1: unknown key; did you mean 'optimizer.lr'?"),
        ("optimiser.lr=1", "optimiser.lr=1: unknown key; did you mean 'optimizer.lr'?"),
        ("optimizer.lr=fast", "optimizer.lr='fast': expected float, not str"),
        ("batch_size=2.5", "batch_size=2.5: expected int, not float"),
        ("batch_size=0", "batch_size=0: must be above 0"),
        ("seed=-1", "seed=-1: must be from 0 to"),
        ("memory.slot=4", "memory.slot=4: unknown key; did you mean 'memory.slots'?"),
        ("memory.update=lstm", "memory.update='lstm': unknown name; known: gated, gru, residual"),
        ("objective.name=flw", "objective.name: unknown name 'flw'; did you mean 'flow'?"),
        ("objective.unrol=3", "objective.unrol: unknown key; did you mean 'unroll'?"),
        ("text.name=transfomer", "text.name: unknown name"),
        ("drawing.solver=reveal", "drawing.solver='reveal': not for flow; take ancestral or"),
        ("evaluators.grid=3", "evaluators={'grid': 3}: expected"),
        ("mesh.data=7", "mesh.data=7, mesh.fsdp=1, mesh.tensor=1, mesh.slices=1: takes 7 devices"),
        ("mesh.fsdp=3", "mesh.fsdp=3, mesh.tensor=1, mesh.slices=1: the axes that are set take 3"),
        ("mesh.tensor=0", "mesh.tensor=0: must be at least 1, or -1 for what is left"),
        ("lr=3", "lr=3: unknown key; did you mean 'optimizer.lr'?"),
        ("text=lstn", "text.name: unknown name 'lstn'; did you mean 'lstm'?"),
        ("evaluators.c={'name': 'claims', 'expander': 'none'}", "none: not a run"),
        ("evaluators.c={'name': 'claims', 'expander': 3}", "evaluators.c.expander=3: expected str"),
        ("steps=none", "set exactly one of steps, examples, epochs"),
    ],
)
def test_a_bad_setting(experiment, tmp_path, fails, setting, said):
    workdir = tmp_path / "run"
    line = fails("train", experiment, f"--config.{setting}", "--workdir", str(workdir))
    assert said in line


def test_a_way_to_draw_that_the_model_does_not_have_is_said_before_training(
    experiment, tmp_path, fails
):
    workdir = tmp_path / "run"
    settings = ("--config.memory.enabled=False", "--config.drawing.diversity.name=slots")
    line = fails("train", experiment, *settings, "--workdir", str(workdir))
    assert "drawing.diversity: slots: the run has no memory" in line


def test_several_processes_do_not_train_apart_in_one_folder(
    experiment, tmp_path, fails, monkeypatch
):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    assert "JAX_NUM_PROCESSES=2" in fails(
        "train", str(experiment), "--workdir", str(tmp_path / "r")
    )
    assert not (tmp_path / "r").exists()


def test_other_mistakes_in_train(experiment, tmp_path, fails):
    assert "did you mean" in fails("train", experiment.replace("tiny", "tinny"))
    assert "--epochs=3: unknown argument" in fails("train", experiment, "--epochs=3")
    assert "no such config file" in fails("train", str(tmp_path / "no" / "where.py"))
    assert "FILE" in fails("train")


@pytest.mark.parametrize("command", [["evaluate"], ["draw", "a red circle"]])
def test_a_folder_that_is_no_run(tmp_path, fails, command):
    name, *texts = command
    assert "not a run" in fails(name, str(tmp_path), *texts)
    assert "not a run" in fails(name, str(tmp_path / "nowhere"), *texts)
    (tmp_path / "config.json").write_text("{")
    assert "config.json: damaged" in fails(name, str(tmp_path), *texts)


def test_a_run_without_a_checkpoint(experiment, tmp_path, fails):
    from vismem import config

    config.write(config.load(experiment), tmp_path / "run")
    assert "checkpoint" in fails("evaluate", str(tmp_path / "run"))
    assert "checkpoint" in fails("draw", str(tmp_path / "run"), "a red circle")


def test_commands_and_arguments_that_do_not_exist(tmp_path, fails):
    assert "invalid choice: 'trian'" in fails("trian")
    assert "--guidence" in fails("draw", str(tmp_path), "a circle", "--guidence", "2")
    assert "--steps" in fails("draw", str(tmp_path), "a circle", "--steps", "many")
    for out in ("out.txt", "out.psd", "out"):
        assert "not a kind of picture" in fails("draw", str(tmp_path), "a circle", "--out", out)
    assert "invalid seed value: '-1'" in fails("talk", str(tmp_path), "--seed", "-1")
    assert "File name too long" in fails("draw", "run" * 2000, "a circle")


def rows(text):
    """The rows of a table in what was printed."""
    return [line.strip("│").replace("│", " ").split() for line in text.splitlines() if "│" in line]


@pytest.mark.slow
def test_train_evaluate_and_draw(experiment, tmp_path, capsys, fails):
    folder, out = tmp_path / "run", tmp_path / "out.png"
    claims = "'claims': {'name': 'claims', 'count': 4, 'sets': ('test',)}"
    evaluators = f"{{{claims}, 'val': {{'name': 'loss', 'count': 16}}}}"
    train = ["train", experiment, "--workdir", str(folder), f"--config.evaluators={evaluators}"]
    train += ["--config.drawing.steps=3", "--config.text.width=16", "--config.text.layers=1"]

    assert cli.main(train) == 0
    table = rows(capsys.readouterr().out)
    assert [row[0] for row in table] == ["exact_claim", "object_f1", "rsim", "loss"]
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    assert {"test/exact_claim", "test/object_f1", "test/rsim"} <= metrics.keys()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all("step" in line for line in lines)
    assert (folder / "figures" / "loss.png").exists()

    # The same command finds nothing left to do, `evaluate` measures again: the same numbers.
    for again in (train, ["evaluate", str(folder)]):
        assert cli.main(again) == 0
        assert rows(capsys.readouterr().out) == table
    assert "optimizer.lr" in fails(*train, "--config.optimizer.lr=1")

    # The picture is the artist's for the seed; the strip shows more of it.
    draw = ["draw", str(folder), "a red circle", "--seed", "3", "--out", str(out)]
    assert cli.main(draw) == 0
    drawn = vismem.load(folder).draw(["a red circle"], seed=3).images[0]
    sheet = np.asarray(Image.open(out))
    assert any(
        (sheet[y : y + 128 : 4, x : x + 128 : 4][:32, :32] == drawn).all()
        for y in range(sheet.shape[0] - 127)
        for x in range(sheet.shape[1] - 127)
    )
    assert cli.main([*draw, "--steps-strip"]) == 0
    assert Image.open(out).width > sheet.shape[1]


@pytest.mark.parametrize(
    ("spec", "folder"),
    [
        ("quick.py", "runs/quick"),
        ("quick.py:memory=off", "runs/quick-memory=off"),
        ("quick.py:a,b/../c", "runs/quick-a-b-..-c"),
    ],
)
def test_a_run_is_named_after_its_file_and_argument(tmp_path, monkeypatch, spec, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.py").write_text(EXPERIMENT)
    trained = []

    def train(run, path, profile):
        trained.append(path)
        raise UserError("enough is known")

    monkeypatch.setattr("vismem.training.loop.train", train)
    cli.main(["train", spec])
    assert trained == [Path(folder)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file", "mine.png"), 2),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), None),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), None),
    ],
)
def test_of_the_systems_errors_those_of_files_are_one_line(error, code, monkeypatch, capsys):
    """Others, of a network for instance, keep their traceback."""

    def fail(options):
        raise error

    monkeypatch.setattr(commands, "report", fail)
    fail.__name__ = "report"
    if code is None:
        with pytest.raises(ConnectionError):
            cli.main(["report", "run"])
    else:
        assert cli.main(["report", "run"]) == code
        assert capsys.readouterr().err.count("\n") == 1


def test_a_devices_full_memory_is_one_line(monkeypatch, fails):
    def report(options):
        jax.numpy.zeros(10**14).block_until_ready()

    monkeypatch.setattr(commands, "report", report)
    said = fails("report", "run")
    assert "RESOURCE_EXHAUSTED" in said
    assert "lower batch_size" in said


@pytest.mark.parametrize("platform", ["nonsense", "cuda"])
def test_devices_that_are_not_here_are_one_line(platform, experiment, tmp_path):
    if platform == "cuda" and jax.default_backend() == "gpu":
        pytest.skip("they are here")
    command = [
        sys.executable,
        "-m",
        "vismem",
        "train",
        experiment,
        "--workdir",
        str(tmp_path / "r"),
    ]
    environment = os.environ | {"JAX_PLATFORMS": platform}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert f"JAX_PLATFORMS={platform}: " in ended.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("length", [1, 1_000_000])  # it shows at the end, or while it is printed
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_leaves_ends_a_command_quietly(length, buffered):
    code = (
        "import sys\nfrom vismem import cli, commands\n"
        f"def report(options): print('x' * {length})\n"
        "commands.report = report\nsys.exit(cli.main(['report', 'run']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, *([] if buffered else ["-u"]), "-c", code]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")
