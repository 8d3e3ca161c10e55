"""Sweeps and their tables, on run folders as training leaves them."""

import csv
import errno
import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

import vismem
from vismem import cli, config
from vismem.errors import UserError
from vismem.reports import status, sweep_table, sweeps
from vismem.training.run import code

EXPERIMENT = """
from ml_collections import ConfigDict

def get_config(argument):
    return ConfigDict({"seed": 0, "steps": 10, "mesh": {"data": 1}, "memory": {"enabled": True}})

def sweep():
    return {
        "rows": {"full": {}, "no memory": {"memory.enabled": False}, "long": {"steps": 20}},
        "seeds": (0, 1, 2),
    }

def table():
    return {
        "exact": {"metric": "test/exact_claim", "percent": True},
        "loss": {"metric": "val/loss", "digits": 2, "best": "min"},
    }
"""
EXACT = {"full": (0.91, 0.92, 0.93), "no memory": (0.81, 0.82, 0.8), "long": (0.93, 0.91, 0.93)}


@pytest.fixture
def commit():
    """The commit of the code; what else has been changed in the checkout does not matter here."""
    reading = ["git", "-C", str(Path(vismem.__file__).parent), "rev-parse", "HEAD"]
    head = subprocess.run(reading, capture_output=True, text=True)
    if head.returncode:
        pytest.skip("not in a git checkout")
    return head.stdout.strip()


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    (tmp_path / "memory.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return "memory.py"


@pytest.fixture
def swept(experiment, commit, monkeypatch):
    """The experiment, all of whose runs are done."""
    for run in sweeps.runs(experiment):
        finish(run, commit, EXACT[run.row][run.seed])
    return experiment


def finish(run, commit, exact):
    config.write(run.config, run.folder)
    code = {"since": 0, "commit": commit, "changed": []}
    metrics = {"test/exact_claim": exact, "val/loss": 1 - exact}
    devices = {"kind": "cpu", "count": 1, "hosts": 1, "cores": 2}
    facts = {"metrics": metrics, "commit": commit, "code": [code], "devices": devices}
    (run.folder / "summary.json").write_text(json.dumps(facts))


def lines(experiment, commit):
    """Row -> its cells in Markdown."""
    text = sweep_table.markdown(sweep_table.make(experiment, commit))
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {row: columns for row, *columns in cells[2:]}


def test_runs_are_rows_by_seeds(experiment):
    runs = sweeps.runs(experiment)
    assert [str(run.folder) for run in runs[2:5]] == [
        "runs/memory/full/2",
        "runs/memory/no-memory/0",
        "runs/memory/no-memory/1",
    ]
    assert runs[4].settings == ("--config.memory.enabled=False", "--config.seed=1")
    assert runs[4].config.memory.enabled is False
    assert runs[4].config.seed == 1
    assert runs[1].config.memory.enabled is True


def test_rows_may_depend_on_the_argument(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = EXPERIMENT.replace("def sweep():", "def sweep(argument):")
    (tmp_path / "memory.py").write_text(text.replace('"full"', "argument"))
    rows = [run.row for run in sweeps.runs("memory.py:short")[::3]]
    assert rows == ["short", "no memory", "long"]


def test_the_command_of_a_run_gives_its_config(experiment):
    for run in sweeps.runs(experiment):
        *_, file, first, second, _, folder = ("", *run.command)
        if run.row != "full":
            again = config.override(config.load(file), [first, second])
            assert again.to_dict() == run.config.to_dict()
            assert folder == str(run.folder)


def test_numbers_intervals_and_the_best(swept, commit):
    assert lines(swept, commit) == {
        "full": ["92.0 ± 2.5 [1]", "**0.08 ± 0.02** [1]"],
        "no memory": ["81.0 ± 2.5 [2]", "0.19 ± 0.02 [2]"],
        "long": ["**92.3 ± 2.9** [3]", "**0.08 ± 0.03** [3]"],
    }


def test_an_evaluators_own_interval_spans_all_seeds(swept, commit):
    """Wide enough for every run, so that rows whose intervals do not overlap differ in all."""
    path = Path(swept)
    path.write_text(path.read_text().replace('"percent": True', '"interval": "evaluator"'))
    for run in sweeps.runs(swept):
        file = run.folder / "summary.json"
        metrics = json.loads(file.read_text())["metrics"]
        exact = metrics["test/exact_claim"]
        ends = {"low": exact - 0.1 * (1 + run.seed), "high": exact + 0.2}
        ends = {f"test/exact_claim, {end}": value for end, value in ends.items()}
        if run.row == "long":
            ends.popitem()
        edit(file, metrics=metrics | ends)
    shown = lines(swept, commit)
    assert shown["full"][0] == "**0.9 (0.6, 1.1)** [1]"
    assert shown["no memory"][0] == "0.8 (0.5, 1.0) [2]"
    assert shown["long"][0] == "*no test/exact_claim, high* [3]"
    rows = sweep_table.make(swept, commit)
    assert "0.9 (0.6, 1.1)" in sweep_table.latex(rows)
    assert "from the lowest to the highest" in sweep_table.note(rows)
    written = list(csv.DictReader(sweep_table.comma_separated(rows).splitlines()))
    assert float(written[0]["low"]) == pytest.approx(0.93 - 0.3)
    assert float(written[0]["high"]) == pytest.approx(0.93 + 0.2)
    assert written[1]["low"] == written[4]["high"] == ""


def test_three_seeds_are_too_few_for_a_star_and_eight_are_not(tmp_path, monkeypatch, commit):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memory.py").write_text(EXPERIMENT.replace("(0, 1, 2)", "tuple(range(8))"))
    for run in sweeps.runs("memory.py"):
        better = {"full": 0.5, "no memory": 0.4, "long": 0.5 + 0.01 * (-1) ** run.seed}[run.row]
        finish(run, commit, better + 0.001 * run.seed**2)
    table = sweep_table.make("memory.py", commit)
    assert [row[0].significant for row in table] == [False, True, False]
    assert "* differs from 'full' at p < 0.05" in sweep_table.note(table)
    assert "uncorrected for several comparisons" in sweep_table.note(table)
    assert "$^{*}$" in sweep_table.latex(table)


def test_a_note_says_that_few_seeds_show_nothing(swept, commit):
    said = sweep_table.note(sweep_table.make(swept, commit))
    assert "p < 0.05 takes 6 seeds" in said
    assert "differs" not in said
    assert "best in bold;" in said


def test_a_commit_must_be_known(swept, commit, capsys):
    assert cli.main(["table", swept, "--commit", "xyz"]) == 2
    assert capsys.readouterr().err == (
        "vismem: --commit xyz: git knows no such commit here; see git log\n"
    )
    assert lines(swept, commit[:9]) == lines(swept, commit)


def test_every_cell_names_its_runs_and_the_commit(swept, commit):
    rows = sweep_table.make(swept, commit)
    markdown, latex = sweep_table.markdown(rows), sweep_table.latex(rows)
    made = f"{{0,1,2}}, commit {commit[:7]}, 1 x cpu, 2 cores"
    assert f"[2] `runs/memory/no-memory/{made}`" in markdown
    cells = re.findall(r"^  & (.*?) % (.*)$", latex, re.M)
    assert len(cells) == 6
    assert cells[0] == (r"$92.0 \pm 2.5$", f"runs/memory/full/{made}")
    assert latex.count(r"\\") == 4
    written = list(csv.DictReader(sweep_table.comma_separated(rows).splitlines()))
    assert len(written) == 6
    assert float(written[2]["mean"]) == pytest.approx(81)
    assert all(line["commits"] == commit and line["seeds"] == "3" for line in written)
    assert written[5]["runs"].split() == [f"runs/memory/long/{seed}" for seed in range(3)]


def not_finite(folder):
    metrics = {"test/exact_claim": float("nan"), "val/loss": float("inf")}
    edit(folder / "summary.json", metrics=metrics)


def test_rows_may_be_called_what_they_like(swept, commit):
    path = Path(swept)
    path.write_text(path.read_text().replace('"no memory"', '"[no] memory|x"'))
    rows = sweep_table.make(swept, commit)
    assert "\n{[}no] memory|x\n" in sweep_table.latex(rows)
    assert "\n| [no] memory\\|x | *seed 0: missing" in sweep_table.markdown(rows)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "summary.json").unlink(), "seed 1: unfinished"),
        (lambda f: [p.unlink() for p in f.iterdir()], "seed 1: missing"),
        (lambda f: [(f / "summary.json").unlink(), exited(f, 1)], "seed 1: failed (exit 1)"),
        (lambda f: [(f / "summary.json").unlink(), exited(f, 42)], "seed 1: unfinished"),
        (lambda f: edit(f / "config.json", steps=11), "seed 1: other config (steps)"),
        (lambda f: made_by(f, None), "seed 1: other code (no commit)"),
        (lambda f: made_by(f, "0" * 40), "seed 1: other code (0000000)"),
        (lambda f: made_by(f, "0" * 40, "1" * 40), "seed 1: other code (0000000; 1111111)"),
        (lambda f: edit(f / "summary.json", metrics={}), "no test/exact_claim"),
        (not_finite, "test/exact_claim is not finite"),
        (lambda f: (f / "summary.json").write_text("{}"), "seed 1: unreadable (summary.json)"),
        (lambda f: (f / "summary.json").write_text("[1"), "seed 1: unreadable (summary.json)"),
        (lambda f: (f / "config.json").write_text('{"seed'), "seed 1: unreadable (config.json)"),
        (
            lambda f: [(f / "summary.json").unlink(), (f / "exit_code").write_text("")],
            "seed 1: unreadable (exit_code)",
        ),
    ],
)
def test_a_cell_without_all_of_its_runs_shows_no_number(swept, commit, damage, said):
    damage(next(sweeps.RUNS.glob("memory/full/1")))
    broken, *others = lines(swept, commit).values()
    assert broken[0] == f"*{said}* [1]"
    assert not re.search(r"\d ±", broken[0] + broken[1])
    assert all("±" in cell for row in others for cell in row)
    table = sweep_table.make(swept, commit)
    assert all(row[0].p is None for row in table)
    assert "best in bold, of the rows that have a number;" in sweep_table.note(table)


def test_speeds_on_different_devices_are_not_compared(swept, commit):
    path = Path(swept)
    path.write_text(path.read_text().replace('"val/loss"', '"seconds"'))
    for run in sweeps.runs(swept):
        edit(run.folder / "summary.json", seconds=10 + run.seed + 5 * (run.row == "full"))
    marked = [row[1].best for row in sweep_table.make(swept, commit)]
    assert marked == [False, True, True]
    one = next(sweeps.RUNS.glob("memory/long/1")) / "summary.json"
    edit(one, devices={"kind": "TPU v4", "count": 8, "hosts": 2})
    rows = sweep_table.make(swept, commit)
    assert not any(row[1].best or row[1].p is not None for row in rows)
    assert any(row[0].best for row in rows)
    assert "speeds are not compared: the devices differ" in sweep_table.note(rows)
    assert rows[2][0].origin.endswith(f"commit {commit[:7]}, 1 x cpu, 2 cores, 8 x TPU v4")


def test_what_runs_began_with_was_the_same_or_it_is_said(swept, commit):
    for run in sweeps.runs(swept):
        edit(run.folder / "summary.json", inputs={"runs/first": "abc", "runs/codes": "def"})
    assert "Trained anew" not in sweep_table.note(sweep_table.make(swept, commit))
    edit(next(sweeps.RUNS.glob("memory/long/1")) / "summary.json", inputs={"runs/first": "new"})
    said = sweep_table.note(sweep_table.make(swept, commit))
    assert said.endswith("Trained anew between runs that began with it: runs/first.")


def test_code_that_was_not_committed_makes_no_number(swept, commit):
    folder = next(sweeps.RUNS.glob("memory/full/1"))
    made_by(folder, commit, changed=["vismem/reports/page.py"])
    assert "±" in lines(swept, commit)["full"][0]
    made_by(folder, commit, changed=["vismem/models/memory.py"])
    said = f"seed 1: other code ({commit[:7]}, not committed)"
    assert lines(swept, commit)["full"][0] == f"*{said}* [1]"


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def made_by(folder, *commits, changed=()):
    code = [{"commit": commit, "changed": changed} for commit in commits]
    edit(folder / "summary.json", code=code)


def exited(folder, code):
    (folder / "exit_code").write_text(f"{code}\n")


def test_what_a_run_cost_may_be_a_column(swept, commit, tmp_path):
    text = EXPERIMENT.replace('"test/exact_claim", "percent": True', '"images_per_second"')
    (tmp_path / swept).write_text(text.replace("val/loss", "parameters"))
    for run in sweeps.runs(swept):
        edit(run.folder / "summary.json", parameters=1_000)
        speeds = [{"step": 1}, *({"images_per_second": speed} for speed in (90, 110, 100))]
        written = "\n".join(map(json.dumps, speeds))
        (run.folder / "timings.jsonl").write_text(f'{written}\n{{"images_per')
    assert lines(swept, commit)["full"] == ["**100.0 ± 0.0** [1]", "**1000.00 ± 0.00** [1]"]


def test_where_a_run_computes_is_not_another_config(swept, commit):
    edit(sweeps.RUNS / "memory/full/1/config.json", mesh={"data": 8}, log_every=1)
    assert "±" in lines(swept, commit)["full"][0]


def test_code_is_other_where_it_makes_numbers(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    def head():
        reading = ["git", "-C", str(tmp_path), "rev-parse", "HEAD"]
        return subprocess.run(reading, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(sweeps.vismem, "__file__", str(tmp_path / "vismem" / "__init__.py"))
    for name in ("vismem/models.py", "vismem/reports/page.py", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    git("init")
    git("config", "user.email", "a@b.c")
    git("config", "user.name", "a")
    git("add", ".")
    git("commit", "-m", "first")
    first = head()
    (tmp_path / "README.md").write_text("news")
    (tmp_path / "vismem/reports/page.py").write_text("# news")
    git("commit", "-am", "second")
    assert not sweeps.other_code(first)
    (tmp_path / "vismem/models.py").write_text("# not committed")
    assert sweeps.other_code(first)
    assert not sweeps.other_code(first, head())
    (tmp_path / "vismem/new.py").write_text("")
    assert code() == {"commit": head(), "changed": ["vismem/models.py", "vismem/new.py"]}
    git("commit", "-am", "third")
    assert sweeps.other_code(first, head())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def sweep", "def swept", "no function sweep()"),
        ('"rows"', '"lines"', "sweep.lines.*unknown key; did you mean 'sweep.rows'"),
        ('"no memory": {', '"full.": {', "full, full, long; rename one"),
        ("(0, 1, 2)", "()", "at least one"),
        ("(0, 1, 2)", "(0, 1, 0)", "sweep.seeds=(0, 1, 0): one is given twice; leave it out"),
        ("memory.enabled", "memry.enabled", "unknown key; did you mean 'memory.enabled'"),
    ],
)
def test_mistakes_in_a_sweep(experiment, tmp_path, old, new, said):
    (tmp_path / experiment).write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")):
        sweeps.runs(experiment)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"min"', '"least"', "table.loss.best='least'"),
        ("def table():", "def table():\n    return None", "table=None: expected Mapping"),
        ("def table():", "def table():\n    return {}", "table: needs at least one column"),
    ],
)
def test_mistakes_in_a_table(experiment, tmp_path, old, new, said):
    (tmp_path / experiment).write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(UserError, match=re.escape(said)):
        sweep_table.make(experiment)


def test_the_command_writes_three_files(swept, commit, capsys):
    """Those of a commit beside those of the code as it is."""
    assert cli.main(["table", swept, "--commit", "HEAD"]) == 0
    assert "92.0 ± 2.5" in capsys.readouterr().out
    assert cli.main(["table", swept]) == 0
    for ending in ("md", "tex", "csv"):
        assert "81.0" in (sweeps.RUNS / f"memory/table-{commit[:7]}.{ending}").read_text()
        assert (sweeps.RUNS / f"memory/table.{ending}").exists()


def test_files_are_never_half_written(swept, monkeypatch, capsys):
    """And of two launchers that write a status page at once, either's will do."""
    old = [sweeps.RUNS / "memory/table.csv", sweeps.RUNS / "memory/status.html"]
    for path in old:
        path.write_text("old")

    def fail(source, target):
        raise FileNotFoundError(errno.ENOENT, "No such file", str(source))

    monkeypatch.setattr("os.replace", fail)
    assert cli.main(["table", swept]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    status.write(old[1], sweeps.runs(swept))
    assert [path.read_text() for path in old] == ["old", "old"]


def test_the_status_page_says_how_far_each_run_is(swept, tmp_path):
    folder = sweeps.RUNS / "memory/full/1"
    (folder / "summary.json").unlink()
    (folder / "metrics.jsonl").write_text('{"step": 5, "loss": 0.25}\n{"step": 6, "lo')
    runs = sweeps.runs(swept)
    status.write(tmp_path / "status.html", runs, running={folder})
    page = (tmp_path / "status.html").read_text()
    assert "8 of 9 runs are done" in page
    assert "<td>running<td>step 5  loss 0.25" in page


def test_comparing_two_runs(swept, capsys, tmp_path):
    folders = [f"runs/memory/{row}/0" for row in ("full", "no-memory")]
    for folder, loss in zip(folders, (0.5, 0.7)):
        (sweeps.RUNS.parent / folder / "metrics.jsonl").write_text(f'{{"step": 1, "loss": {loss}}}')
    assert cli.main(["compare", *folders, "--out", "curves.png"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"memory\.enabled .* True .* False", printed)
    assert "seed" not in printed
    assert re.search(r"loss .* 0\.5 .* 0\.7", printed)
    assert Image.open("curves.png").width > 300
    assert cli.main(["compare", *folders, "--out", "curves.txt"]) == 2
    assert cli.main(["compare", folders[0], "nowhere"]) == 2
