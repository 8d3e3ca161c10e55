"""A run's numbers as a table in the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

WIDEST = 6  # columns


def pivot(metrics: Mapping[str, float], form: str) -> tuple[list[str], list[list[str]]]:
    """Of "split/measure" -> number the splits, and a row a measure: its name, and its number of
    each split, "" where there is none."""
    cells = {tuple(name.rpartition("/")[::2]): f"{x:{form}}" for name, x in metrics.items()}
    splits = list(dict.fromkeys(split for split, _ in cells))
    measures = dict.fromkeys(measure for _, measure in cells)
    return splits, [[m, *(cells.get((split, m), "") for split in splits)] for m in measures]


def show(metrics: Mapping[str, float], title: str = "", console: Console | None = None) -> None:
    """Prints "split/measure" -> number as a row a measure and a column a split; with more splits
    than fit side by side, as a row a number."""
    splits, rows = pivot(metrics, ".4f")
    if len(splits) > WIDEST:
        splits, rows = [""], [[name, f"{value:.4f}"] for name, value in metrics.items()]
    table = Table("", title=title or None)
    for split in splits:
        table.add_column(split, justify="right")
    for row in rows:
        table.add_row(*row)
    (console or Console()).print(table)
