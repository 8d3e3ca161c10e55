"""A run's loss and accuracy over its steps, as pictures."""

import json
from collections import defaultdict
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from vismem.errors import UserError

matplotlib.use("Agg")

Curve = tuple[list[int], list[float]]  # steps and values


def read(folder: Path) -> dict[str, Curve]:
    """Losses and evaluators' numbers in `folder`/metrics.jsonl: name -> (steps, values)."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        raise UserError(f"{folder}: no metrics.jsonl to draw curves from; train the run first")
    curves = defaultdict(lambda: ([], []))
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
            step = record.pop("step")
        except (ValueError, KeyError, AttributeError):
            raise UserError(f"{path}:{number}: not a line of metrics") from None
        training = "loss" in record  # of its lines' many numbers, only losses are curves
        for name, value in record.items():
            if isinstance(value, (int, float)) and (not training or name.endswith("loss")):
                curves[name][0].append(step)
                curves[name][1].append(value)
    return dict(curves)


def save(folder: Path) -> list[Path]:
    """Draws figures/loss.png and figures/accuracy.png of the run in `folder`; returns their paths.

    The first holds the losses of training and of the evaluators; the second has a panel for each of
    the evaluators' other measures, with a line a split. A figure with nothing to show is left out.
    """
    curves = read(folder)
    losses = {n: c for n, c in curves.items() if n.split("/")[-1] == "loss"}
    measures = defaultdict(dict)
    for name, curve in curves.items():
        split, _, measure = name.rpartition("/")
        if split and measure != "loss":
            measures[measure][split] = curve
    paths = []
    for name, panels in (("loss", {"loss": losses} if losses else {}), ("accuracy", measures)):
        if panels:
            paths.append(folder / "figures" / f"{name}.png")
            paths[-1].parent.mkdir(exist_ok=True)
            draw(panels).savefig(paths[-1], dpi=120)
    return paths


def draw(panels: dict[str, dict[str, Curve]]) -> Figure:
    """One panel beside the other, {title: {label: curve}}, over the same steps."""
    figure = Figure(figsize=(4.8 * len(panels), 3.6), layout="constrained")
    for axes, (title, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items()
    ):
        for label, (steps, values) in curves.items():
            marker = "o" if len(steps) <= 30 else ""  # a lone point would not show as a line
            axes.plot(steps, values, marker=marker, markersize=3, linewidth=1.2, label=label)
        axes.set(title=title, xlabel="step")
        numbers = [v for _, values in curves.values() for v in values]
        if title == "loss" and min(numbers) > 0:
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
