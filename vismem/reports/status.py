"""The status page of a sweep: how far each run is, rewritten while they run."""

import contextlib
import html
import json
import os
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from vismem.reports import sweeps
from vismem.reports.sweeps import Run
from vismem.training.logging import write_whole

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="10">
<title>{title}</title>
<style>body {{ font: 15px sans-serif; margin: 2em }} td, th {{ padding: .2em 1em .2em 0; \
text-align: left }}</style>
<h1>{title}</h1>
<p>{done} of {count} runs are done. Written {time}.</p>
<table>
<tr><th>row<th>seed<th>state<th>last metrics<th>log</tr>
{rows}
</table>
</html>
"""


def write(path: Path, runs: Sequence[Run], running: Collection[Path] = ()) -> None:
    """Writes the page.

    Args:
      path: of the page.
      runs: of the sweep.
      running: folders of those that are being trained now.
    """
    states = ["running" if run.folder in running else sweeps.state(run) for run in runs]
    rows = [
        f"<tr><td>{html.escape(run.row)}<td>{run.seed}<td>{html.escape(state)}"
        f"<td>{html.escape(last(run.folder / 'metrics.jsonl'))}"
        f'<td><a href="{html.escape(os.path.relpath(run.folder / "log.txt", path.parent))}">log</a>'
        for run, state in zip(runs, states)
    ]
    page = PAGE.format(
        title=html.escape(path.parent.name),
        done=states.count("done"),
        count=len(runs),
        time=datetime.now().isoformat(" ", "seconds"),
        rows="\n".join(rows),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another launcher has just put its own there
        write_whole(path, page)


def last(path: Path) -> str:
    """The last line of metrics, "step 40  loss 0.05", or "" of a run that has none."""
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            return "  ".join(f"{k} {v:.4g}" for k, v in json.loads(line).items())
        except ValueError:  # a line that is being written
            continue
    return ""
