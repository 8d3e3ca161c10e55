"""The table of a sweep: Markdown, LaTeX (booktabs) and CSV, made from the runs' summaries.

A cell without all of its runs, all finished, by this code and this config, shows no number but why.
"""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vismem import config
from vismem.errors import UserError
from vismem.registry import check_type
from vismem.reports import sweeps
from vismem.reports.statistics import interval, paired_bootstrap, pairs_needed
from vismem.reports.sweeps import Run
from vismem.training.logging import write_whole

SIGNIFICANT = 0.05
FIELDS = (  # of the CSV
    *("row", "column", "metric", "mean", "interval", "low", "high", "seeds", "p", "best"),
    *("missing", "runs", "commits"),
)
LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}"}
LATEX |= {"[": "{[}", "*": "{*}"}  # which a row may begin with: "\\" would take them for its own


@dataclass(frozen=True)
class Column:
    """What `table()` returns for every column's title.

    Attributes:
      metric: of the evaluators', with its split: "test/exact_claim"; or a cost of the run, such as
        "images_per_second" (sweeps.summary).
      digits: after the point. percent: whether the metric is shown times 100.
      best: "max" or "min", which is printed bold.
      interval: whose 95% interval is shown: of the mean over "seeds"; or the "evaluator"'s own,
        "METRIC, low" and "METRIC, high", from the lowest to the highest of the runs.
    """

    metric: str
    digits: int = 1
    percent: bool = False
    best: Literal["max", "min"] = "max"
    interval: Literal["seeds", "evaluator"] = "seeds"

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is read of a run's summary: the number, and the ends of its interval."""
        ends = (f"{self.metric}, low", f"{self.metric}, high")
        return (self.metric, *(ends if self.interval == "evaluator" else ()))

    def shown(self, number: float) -> str:
        return f"{number:.{self.digits}f}"


@dataclass(frozen=True)
class Cell:
    """A number of a table, or why there is none.

    Attributes:
      values: of the runs, in the column's unit. missing: why there is no number, or "".
      ends: of the evaluator's interval, in the column's unit; none if it is not shown.
      folders, commits, devices: of the runs.
      inputs: of the runs that they began with, folder and a hash of what that had learned.
      p: of the difference to the first row; None in it, and where there is nothing to compare.
      best: whether no other row has a better mean, as printed.
    """

    row: str
    title: str
    column: Column
    values: tuple[float, ...]
    missing: str
    folders: tuple[Path, ...]
    commits: tuple[str, ...]
    devices: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    ends: tuple[float, ...] = ()
    p: float | None = None
    best: bool = False

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def origin(self) -> str:
        """Where the number comes from: "runs/memory/full/{0,1}, commit 89689e7, 8 x TPU v4"."""
        parent = self.folders[0].parent
        made = " and ".join(commit[:7] for commit in self.commits) or "none"
        where = "".join(f", {device}" for device in self.devices)
        return f"{parent}/{{{','.join(f.name for f in self.folders)}}}, commit {made}{where}"

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p < SIGNIFICANT

    def number(self, plus_minus: str) -> str:
        """The mean and its interval, "96.9 ± 1.2", or "96.9 (95.4, 98.2)" if that is the
        evaluator's; the mean alone of a single run."""
        number = self.column.shown(self.mean)
        if self.ends:
            return f"{number} ({', '.join(map(self.column.shown, self.ends))})"
        if len(self.values) > 1:
            number += plus_minus + self.column.shown(interval(self.values))
        return number


Rows = list[list[Cell]]


def make(file: str, commit: str | None = None) -> Rows:
    """The table of an experiment, a list of cells a row.

    Args:
      file: "FILE[:ARGUMENT]".
      commit: whose runs are shown; by default those that the code as it is here would make.
    """
    commit = commit and sweeps.revision(commit)
    declared = config.plain(sweeps.declared(file, "table"))
    check_type(declared, Mapping, "table")
    if not declared:
        raise UserError("table: needs at least one column")
    columns = {t: config.freeze(Column, c, f"table.{t}") for t, c in declared.items()}
    rows: dict[str, list[Run]] = {}
    for run in sweeps.runs(file):
        rows.setdefault(run.row, []).append(run)
    table = [make_row(runs, columns, commit) for runs in rows.values()]
    return [list(row) for row in zip(*(judge(column) for column in zip(*table)))]


def make_row(runs: Sequence[Run], columns: dict[str, Column], commit: str | None) -> list[Cell]:
    """The cells of a row, not yet compared with other rows."""
    summaries, obstacles = [], []
    for run in runs:
        state = sweeps.state(run)
        if state == "done":
            summaries.append(sweeps.summary(run))
            state = sweeps.other(summaries[-1], commit) or state
        if state != "done":
            obstacles.append(f"seed {run.seed}: {state}")
    commits = sorted({summary["commit"] for summary in summaries if summary["commit"]})
    row = []
    for title, column in columns.items():
        unit = 100 if column.percent else 1
        found = {
            metric: [unit * s["metrics"][metric] for s in summaries if metric in s["metrics"]]
            for metric in column.metrics
        }
        lacking = [f"no {metric}" for metric, of in found.items() if len(of) < len(summaries)]
        finite = {metric: all(map(math.isfinite, of)) for metric, of in found.items()}
        lacking += [f"{metric} is not finite" for metric in found if not finite[metric]]
        values, *ends = found.values()
        row.append(
            Cell(
                row=runs[0].row,
                title=title,
                column=column,
                values=tuple(values),
                missing="; ".join(obstacles or lacking),
                ends=(min(ends[0]), max(ends[1])) if ends and all(ends) else (),
                folders=tuple(run.folder for run in runs),
                commits=tuple(commits),
                devices=tuple(sorted({sweeps.devices(summary) for summary in summaries})),
                inputs=tuple(sorted({x for s in summaries for x in s["inputs"].items()})),
            )
        )
    return row


def judge(column: Sequence[Cell]) -> list[Cell]:
    """The cells of a column, compared: which is the best, and which differ from the first."""
    first = column[0]
    if uncomparable(column):
        return list(column)
    pick = {"max": max, "min": min}[first.column.best]
    means = [round(cell.mean, cell.column.digits) for cell in column if not cell.missing]
    judged = []
    for cell in column:
        if not cell.missing:
            best = len(means) > 1 and round(cell.mean, cell.column.digits) == pick(means)
            compared = cell is not first and not first.missing
            p = paired_bootstrap(first.values, cell.values) if compared else None
            cell = replace(cell, best=best, p=p)
        judged.append(cell)
    return judged


def uncomparable(column: Sequence[Cell]) -> bool:
    """Whether a column has speeds of runs on different devices."""
    devices = {device for cell in column for device in cell.devices}
    return column[0].column.metric in sweeps.TIMED and len(devices) > 1


def note(rows: Rows) -> str:
    """What the marks in the table mean."""
    seeds, shown = len(rows[0][0].folders), {cell.column.interval for cell in rows[0]}
    spread = ", 95% interval by Student's t" if seeds > 1 and "seeds" in shown else ""
    if "evaluator" in shown:
        spread += ", in brackets the evaluator's own 95% intervals, from the lowest to the highest"
    star = f"* differs from {rows[0][0].row!r} at p < {SIGNIFICANT}"
    if seeds < (least := pairs_needed(SIGNIFICANT)):
        star = f"no row is marked as different: p < {SIGNIFICANT} takes {least} seeds"
    bold = "best in bold"
    if any(cell.missing for row in rows for cell in row):
        bold += ", of the rows that have a number"
    if any(map(uncomparable, zip(*rows))):
        bold += " (speeds are not compared: the devices differ)"
    test = "paired bootstrap over seeds, uncorrected for several comparisons"
    said = f"Mean over seeds ({seeds}){spread}; {bold}; {star} ({test})."
    if changed := retrained(rows):
        said += f" Trained anew between runs that began with it: {', '.join(changed)}."
    return said


def retrained(rows: Rows) -> list[str]:
    """Folders in which runs of a table that began with them found different parameters."""
    found = {pair for row in rows for cell in row for pair in cell.inputs}
    folders = [folder for folder, _ in found]
    return sorted({folder for folder in folders if folders.count(folder) > 1})


def markdown(rows: Rows) -> str:
    """A table whose cells refer to notes: the run directories and the commit."""
    unique = dict.fromkeys(cell.origin for row in rows for cell in row)
    origins = {origin: i for i, origin in enumerate(unique, start=1)}

    def show(cell: Cell) -> str:
        text = f"*{cell.missing}*"
        if not cell.missing:
            text = cell.number(" ± ")
            text = f"**{text}**" if cell.best else text
            text += r"\*" if cell.significant else ""
        return f"{text} [{origins[cell.origin]}]"

    lines = ["", *(cell.title for cell in rows[0])], ["---", *("---:" for _ in rows[0])]
    body = [[row[0].row, *map(show, row)] for row in rows]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in (*lines, *body)]
    table = ["| " + " | ".join(line) + " |" for line in cells]
    notes = [f"[{i}] `{origin}`  " for origin, i in origins.items()]
    return "\n".join([*table, "", note(rows), "", *notes]) + "\n"


def latex(rows: Rows) -> str:
    """A booktabs tabular, a cell a line with its run directories and commit as a comment."""

    def show(cell: Cell) -> str:
        text = rf"\textit{{{escape(cell.missing)}}}"
        if not cell.missing:
            text = cell.number(r" \pm ")
            text = rf"$\mathbf{{{text}}}$" if cell.best else f"${text}$"
            text += "$^{*}$" if cell.significant else ""
        return f"  & {text} % {cell.origin}"

    head = " & ".join(["", *(escape(cell.title) for cell in rows[0])])
    body = ["\n".join([escape(row[0].row), *map(show, row), r"  \\"]) for row in rows]
    return "\n".join(
        [
            f"% {note(rows)}",
            rf"\begin{{tabular}}{{l{'r' * len(rows[0])}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def escape(text: str) -> str:
    return text.translate(str.maketrans(LATEX))


def comma_separated(rows: Rows) -> str:
    """A line a cell: numbers in full, and where they come from."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(FIELDS)
    for cell in (cell for row in rows for cell in row):
        shown = not cell.missing
        write(
            [
                cell.row,
                cell.title,
                cell.column.metric,
                cell.mean if shown else "",
                interval(cell.values) if shown and len(cell.values) > 1 else "",
                *((cell.ends if shown else ()) or ("", "")),
                len(cell.values),
                "" if cell.p is None else cell.p,
                int(cell.best),
                cell.missing,
                " ".join(map(str, cell.folders)),
                " ".join(cell.commits),
            ]
        )
    return text.getvalue()


def save(file: str, rows: Rows, commit: str | None = None) -> list[Path]:
    """Writes table.md, table.tex and table.csv beside the runs; of a commit's runs, as `make` was
    told, table-89689e7.md and so on. Returns their paths."""
    folder = sweeps.RUNS / sweeps.name(file)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"table-{sweeps.revision(commit)[:7]}" if commit else "table"
    texts = {"md": markdown(rows), "tex": latex(rows), "csv": comma_separated(rows)}
    paths = [folder / f"{stem}.{ending}" for ending in texts]
    for path, text in zip(paths, texts.values()):
        write_whole(path, text)
    return paths
