"""A run's numbers as a table in the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table


def show(metrics: Mapping[str, float], title: str = "", console: Console | None = None) -> None:
    """Prints "split/measure" -> number as one row a split and one column a measure."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        split, _, measure = name.rpartition("/")
        rows.setdefault(split, {})[measure] = value
    columns = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    table = Table("", title=title or None)
    for measure in columns:
        table.add_column(measure, justify="right")
    for split, row in rows.items():
        table.add_row(split, *(f"{row[m]:.4f}" if m in row else "" for m in columns))
    (console or Console()).print(table)
