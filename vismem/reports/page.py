"""A run's page: one HTML file with everything in it, pictures too; it asks no network."""

import base64
import html
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vismem import config
from vismem.errors import UserError
from vismem.reports import curves, sweeps, table
from vismem.training.logging import write_whole

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; color: #222; max-width: 72em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse }}
th, td {{ text-align: left; padding: .1em 1.5em .1em 0; border-bottom: 1px solid #ddd }}
td {{ font-family: monospace }}
img {{ max-width: 100%; display: block }}
.strip {{ display: flex; gap: 1em; overflow-x: auto }}
figure {{ margin: 0 }}
.strip figure {{ flex: 0 0 auto; max-width: 36em }}
</style>
</head>
<body>
<h1>{title}</h1>
{sections}
</body>
</html>
"""


def write(folder: Path) -> Path:
    """Writes page.html of the run in `folder`, finished or not; returns its path."""
    settings = config.read(folder)
    facts = json_object(folder / config.SUMMARY)
    charts = [picture(path, path.stem) for path in curves.save(folder)]
    sections = {
        "Numbers": numbers(facts.get("metrics", {})) or "<p>The run has not ended.</p>",
        "Curves": "\n".join(charts),
        **{name: strip(pictures) for name, pictures in sheets(folder / "figures").items()},
        "Time": rows(timings(folder, facts).items()),
        "Versions": rows({**facts.get("versions", {}), "commit": facts.get("commit")}.items()),
        "Config": rows((key, new) for key, (_, new) in sweeps.changes({}, settings).items()),
    }
    text = PAGE.format(
        title=html.escape(str(folder)),
        sections="\n".join(f"<h2>{html.escape(h)}</h2>\n{s}" for h, s in sections.items()),
    )
    path = folder / "page.html"
    write_whole(path, text)
    return path


def numbers(metrics: Mapping[str, float]) -> str:
    """ "split/measure" -> number as a row a measure and a column a split."""
    splits, body = table.pivot(metrics, ".4g")
    head = "".join(f"<th>{html.escape(split)}" for split in ["", *splits])
    return rows(body, head) if body else ""


def rows(lines: Iterable[Iterable[Any]], head: str = "") -> str:
    """An HTML table, the first of each line being its name."""
    shown = ["<table>", f"<tr>{head}</tr>"] if head else ["<table>"]
    for name, *values in lines:
        cells = "".join(f"<td>{html.escape(str(value))}" for value in values)
        shown.append(f"<tr><th>{html.escape(str(name))}{cells}</tr>")
    return "\n".join([*shown, "</table>"])


def sheets(folder: Path) -> dict[str, list[str]]:
    """Figures that evaluators drew, by name and in order of steps: "grid_800.png"."""
    found = defaultdict(dict)
    for path in folder.glob("**/*.png"):
        name, _, step = path.relative_to(folder).with_suffix("").as_posix().rpartition("_")
        if name and step.isdecimal():
            found[name][int(step)] = picture(path, f"step {step}")
    return {name: [found[name][step] for step in sorted(found[name])] for name in sorted(found)}


def picture(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def strip(pictures: Iterable[str]) -> str:
    return "\n".join(['<div class="strip">', *pictures, "</div>"])


def timings(folder: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """How long and how fast: of the whole run, and medians over its log; goodput as it was last."""
    known = {name: f"{facts[name]:,.0f}" for name in sweeps.COSTS if name in facts}
    for name, value in sweeps.speed(folder).items():
        known[name if name == "goodput" else f"{name}, median"] = f"{value:.3g}"
    return known


def json_object(path: Path) -> dict[str, Any]:
    """What a file holds; nothing, if there is none."""
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path}: damaged; delete it, and the run's command writes it again")
    return found
