"""A run's loss and accuracy over its steps, as pictures."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vismem.errors import UserError

matplotlib.use("Agg")

Curve = tuple[list[float], list[float]]  # steps, or seconds of training, and values
COLUMNS = 4  # panels side by side


def read(folder: Path, against: str = "step") -> dict[str, Curve]:
    """Losses and evaluators' numbers of the run in `folder`, by name.

    Args:
      against: "step"; or "seconds" since training began: of a step whose time was not written down
        by those before and after it, and of one after the last, the last's.
    """
    at = float if against == "step" else clock(folder)
    curves = defaultdict(lambda: ([], []))
    for where, record in lines(folder / "metrics.jsonl"):
        try:
            step = record.pop("step")
        except KeyError:
            raise UserError(f"{where}: not a line of metrics") from None
        training = "loss" in record  # of its lines' many numbers, only losses are curves
        for name, value in record.items():
            if isinstance(value, (int, float)) and (not training or name.endswith("loss")):
                curves[name][0].append(at(step))
                curves[name][1].append(value)
    return dict(curves)


def clock(folder: Path) -> Callable[[float], float]:
    """From a step of the run in `folder` to seconds of training, in proportion between those whose
    time was written down."""
    path = folder / "timings.jsonl"
    known = {line["step"]: line["seconds"] for _, line in lines(path)}
    if not known:
        raise UserError(f"{path}: holds no times yet; compare against step")
    steps, seconds = zip(*sorted(known.items()))
    return lambda step: float(np.interp(step, steps, seconds))


def lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a file with one a line, and where each stands."""
    if not path.is_file():
        raise UserError(f"{path.parent}: no {path.name} to draw curves from; train the run first")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise UserError(f"{where}: not a line of metrics")
        yield where, record


def save(folder: Path) -> list[Path]:
    """Draws figures/loss.png and figures/accuracy.png of the run in `folder`; returns their paths.

    The first holds the losses of training and of the evaluators; the second has a panel for each of
    the evaluators' other measures, with a line a split and, of "measure, of some", a line for each
    such part. A figure with nothing to show is left out.
    """
    curves = read(folder)
    losses = {n: c for n, c in curves.items() if n.split("/")[-1] == "loss"}
    measures = defaultdict(dict)
    for name, curve in curves.items():
        split, _, measure = name.rpartition("/")
        measure, *part = measure.split(", ")
        if split and measure != "loss" and part[-1:] not in (["low"], ["high"]):
            measures[measure][", ".join([split, *part])] = curve
    paths = []
    for name, panels in (("loss", {"loss": losses} if losses else {}), ("accuracy", measures)):
        if panels:
            paths.append(folder / "figures" / f"{name}.png")
            paths[-1].parent.mkdir(exist_ok=True)
            draw(panels).savefig(paths[-1], dpi=120)
    return paths


def draw(panels: dict[str, dict[str, Curve]], against: str = "step") -> Figure:
    """A panel for each of {title: {label: curve}}, over the same steps or seconds."""
    columns, rows = min(len(panels), COLUMNS), math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(4.8 * columns, 3.6 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, (title, curves) in zip(places, panels.items()):
        for label, (at, values) in curves.items():
            marker = "o" if len(at) <= 30 else ""  # a lone point would not show as a line
            axes.plot(at, values, marker=marker, markersize=3, linewidth=1.2, label=label)
        axes.set(title=title, xlabel=against)
        numbers = [v for _, values in curves.values() for v in values]
        if title.endswith("loss") and min(numbers) > 0:
            axes.set_yscale("log")
        elif all(0 <= v <= 1 for v in numbers):  # shares: the same scale in every run
            axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def write(figure: Figure, path: Path) -> None:
    """Saves a figure where a command was told to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:  # ValueError: not a kind of picture
        raise UserError(f"--out {path}: cannot be written: {error}") from None
