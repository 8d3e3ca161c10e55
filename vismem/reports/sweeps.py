"""Sweeps: one experiment under several settings, each over several seeds.

An experiment file may define, beside `get_config`,

    def sweep():
        return {
            "rows": {"full": {}, "no memory": {"memory.enabled": False}},
            "seeds": (0, 1, 2),
        }

    def table():
        return {
            "exact": {"metric": "test/exact_claim", "percent": True},
            "loss": {"metric": "val/loss", "digits": 3, "best": "min"},
        }

A row is a set of overrides, as `--config.KEY=VALUE` would give them; the first is the baseline that
the others are tested against. Each run lives in runs/EXPERIMENT/ROW/SEED. What a column of the
table may say is in sweep_table.py. Both functions may take the argument that `get_config` takes.
"""

import contextlib
import inspect
import json
import re
import runpy
import statistics
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import vismem
from vismem import config
from vismem.errors import UserError

RUNS = Path("runs")
COSTS = ("seconds", "images", "steps", "parameters")  # of a run, by its summary
EXIT_CODE = "exit_code"  # what a run that was launched ended with
TIMES = ("images_per_second", "mfu", "device_seconds", "data_seconds", "host_seconds")
# Of runs on different devices these are not compared.
TIMED = ("seconds", *TIMES, "goodput", "drawing/pictures_per_second")
STOPPED = (42, 130, 143)  # exit codes of runs that a signal ended, which go on from what they saved
# Settings in which the runs of a table may differ from the file: they change no number.
HARMLESS = ("mesh", "checkpoint", "log_every", "experiment", "data.threads", "data.prefetch")
# Code that makes no number.
AFTERWARDS = (
    *("vismem/reports", "vismem/planning"),
    *("vismem/commands.py", "vismem/cli.py", "vismem/__main__.py"),
)


@dataclass(frozen=True)
class Sweep:
    """What `sweep()` returns: settings by row, and the seeds of each."""

    rows: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self):
        folders = [slug(row) for row in self.rows]
        if not self.rows or not self.seeds:
            raise UserError("sweep: needs at least one row and one seed")
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"sweep.seeds={self.seeds}: one is given twice; leave it out")
        if len(set(folders)) < len(folders) or "" in folders:
            raise UserError(f"sweep.rows: their folders would be {', '.join(folders)}; rename one")


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
      file: "FILE[:ARGUMENT]". row, seed: its place in the sweep.
      settings: "--config.KEY=VALUE", what the row and the seed set.
      config: resolved from them. folder: the run's.
    """

    file: str
    row: str
    seed: int
    settings: tuple[str, ...]
    config: ConfigDict
    folder: Path

    @property
    def command(self) -> tuple[str, ...]:
        """`vismem train`, which starts the run and resumes it."""
        train = ("python", "-m", "vismem", "train", self.file)
        return (*train, *self.settings, "--workdir", str(self.folder))


def slug(text: str) -> str:
    """`text` as the name of a folder."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-.")


def name(file: str) -> str:
    """The name of an experiment: its file's and its argument's."""
    path, _, argument = file.partition(":")
    return slug(f"{Path(path).stem}-{argument}")


def declared(file: str, function: str) -> Any:
    """What a function of an experiment file returns, given the file's argument if it takes one."""
    path, _, argument = file.partition(":")
    config.load(file)  # whose complaints about the file are the better ones
    found = runpy.run_path(path).get(function)
    if found is None:
        raise UserError(f"{path}: has no function {function}(); vismem/reports/sweeps.py shows one")
    try:
        return found(argument) if inspect.signature(found).parameters else found()
    except Exception as error:  # whatever a file of the user's may raise
        raise UserError(f"{path}: {function}() failed: {type(error).__name__}: {error}") from error


def runs(file: str, sweep: Sweep | None = None) -> list[Run]:
    """The runs of a sweep, the file's own by default, seeds of a row together."""
    sweep = sweep or config.freeze(Sweep, declared(file, "sweep"), "sweep")
    found = []
    for row, overrides in sweep.rows.items():
        for seed in sweep.seeds:
            values = {**overrides, "seed": seed}
            settings = tuple(f"--config.{key}={value!r}" for key, value in values.items())
            resolved = config.override(config.load(file), settings)
            folder = RUNS / name(file) / slug(row) / str(seed)
            found.append(Run(file, row, seed, settings, resolved, folder))
    return found


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> its values in two configs, None where it is missing, if they differ."""
    return dict(_changes(config.plain(old), config.plain(new), ""))


def _changes(old: Any, new: Any, above: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key), new.get(key)
        if isinstance(a or b, Mapping) and isinstance(b or a, Mapping):
            yield from _changes(a or {}, b or {}, f"{above}{key}.")
        elif a != b:
            yield f"{above}{key}", (a, b)


def state(run: Run) -> str:
    """How far a run is: done, missing, unfinished, "failed (exit 1)", "other config (keys)" or
    "unreadable (file)"."""
    code, failure = run.folder / EXIT_CODE, None
    if code.exists() and (text := code.read_text().strip()) not in map(str, STOPPED):
        failure = f"failed (exit {text})" if text.isdecimal() else f"unreadable ({EXIT_CODE})"
    if not (run.folder / config.FILE).exists():
        return failure or "missing"
    try:
        begun = config.read(run.folder)
    except UserError:
        return f"unreadable ({config.FILE})"
    differing = [
        key
        for key in changes(begun, run.config)
        if not any(f"{key}.".startswith(f"{harmless}.") for harmless in HARMLESS)
    ]
    if differing:
        return f"other config ({', '.join(differing)})"
    if (run.folder / config.SUMMARY).exists():
        try:
            summary(run)
        except UserError:
            return f"unreadable ({config.SUMMARY})"
        return "done"
    return failure or "unfinished"


def summary(run: Run) -> dict[str, Any]:
    """The summary of a run that is done; its `metrics` are the evaluators', and what it cost.

    The costs are `seconds`, `images`, `steps` and `parameters`, and those of `speed`.
    """
    path = run.folder / config.SUMMARY
    try:
        facts = json.loads(path.read_text())
        costs = {name: facts[name] for name in COSTS if name in facts}
        metrics = {**costs, **speed(run.folder), **facts["metrics"]}
        return {"commit": None, "code": [], "inputs": {}, **facts, "metrics": metrics}
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run the sweep again") from None


def speed(folder: Path) -> dict[str, float]:
    """What a run's timings.jsonl has of `TIMES` (training/meter.py), as medians, and its last
    `goodput`."""
    path, lines = folder / "timings.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):  # a line that is being written
            lines.append(json.loads(line))
    found = {n: [line[n] for line in lines if n in line] for n in (*TIMES, "goodput")}
    medians = {n: statistics.median(found[n]) for n in TIMES if found[n]}
    return medians | {n: found[n][-1] for n in ("goodput",) if found[n]}


def devices(facts: Mapping[str, Any]) -> str:
    """What a run with this summary ended on: "8 x NVIDIA H100", "1 x cpu, 2 cores"."""
    found = facts.get("devices")
    if not found:
        return "unknown devices"
    cores = f", {found['cores']} cores" if "cores" in found else ""
    return f"{found['count']} x {found['kind']}{cores}"


def revision(commit: str) -> str:
    """The commit in full.

    Raises:
      UserError: git knows none of this name.
    """
    package = Path(vismem.__file__).parent
    verify = ("git", "-C", str(package.parent), "rev-parse", "--verify", "--quiet")
    found = subprocess.run((*verify, f"{commit}^{{commit}}"), capture_output=True, text=True)
    if found.returncode:
        raise UserError(f"--commit {commit}: git knows no such commit here; see git log")
    return found.stdout.strip()


def other(facts: Mapping[str, Any], wanted: str | None = None) -> str:
    """ "other code (abcdef0)", if a run with this summary was made, or some of it, by code that
    differs from `wanted`, or by default from what is here, where numbers are made; else ""."""
    codes = facts["code"] or [{"commit": None}]
    others = [code for code in codes if changed_code(code) or other_code(code["commit"], wanted)]
    named = [
        (code["commit"][:7] if code["commit"] else "no commit")
        + ", not committed" * changed_code(code)
        for code in others
    ]
    return f"other code ({'; '.join(named)})" if others else ""


def other_code(commit: str | None, wanted: str | None = None) -> bool:
    """Whether what makes numbers differs between `commit` and `wanted`, by default what is here."""
    if commit is None:
        return True
    package = Path(vismem.__file__).parent
    revisions = (commit, wanted) if wanted else (commit,)
    compare = ("git", "-C", str(package.parent), "diff", "--quiet", *revisions, "--")
    paths = ("vismem", *(f":!{path}" for path in AFTERWARDS))
    return subprocess.run((*compare, *paths), capture_output=True).returncode != 0


def changed_code(facts: Mapping[str, Any]) -> bool:
    """Whether what makes numbers differed from its commit when a run with this summary began."""
    return any(not path.startswith(AFTERWARDS) for path in facts.get("changed", ()))
