"""A run's numbers as a table in the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

WIDEST = 6  # columns


def show(metrics: Mapping[str, float], title: str = "", console: Console | None = None) -> None:
    """Prints "split/measure" -> number as a row a measure and a column a split; with more splits
    than fit side by side, as a row a number."""
    cells = {tuple(name.rpartition("/")[::2]): f"{value:.4f}" for name, value in metrics.items()}
    splits = list(dict.fromkeys(split for split, _ in cells))
    measures = list(dict.fromkeys(measure for _, measure in cells))
    if len(splits) > WIDEST:
        cells = {("", name): f"{value:.4f}" for name, value in metrics.items()}
        splits, measures = [""], list(metrics)
    table = Table("", title=title or None)
    for split in splits:
        table.add_column(split, justify="right")
    for measure in measures:
        table.add_row(measure, *(cells.get((split, measure), "") for split in splits))
    (console or Console()).print(table)
