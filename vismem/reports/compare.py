"""Two runs side by side: what was set otherwise, and how they went."""

from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from vismem import config
from vismem.errors import UserError
from vismem.reports import curves, sweeps


def show(first: Path, second: Path, console: Console | None = None) -> None:
    """Prints the keys of the config in which two runs differ, and their last numbers."""
    console = console or Console()
    settings = Table("config", str(first), str(second))
    for key, values in sweeps.changes(config.read(first), config.read(second)).items():
        settings.add_row(key, *map(repr, values))
    console.print(settings if settings.row_count else "the configs are the same")
    numbers = Table("last", str(first), str(second))
    one, other = curves.read(first), curves.read(second)
    for name in dict.fromkeys([*one, *other]):
        ends = (f"{c[name][1][-1]:.4g}" if name in c else "" for c in (one, other))
        numbers.add_row(name, *ends)
    console.print(numbers)


def draw(first: Path, second: Path, against: str = "step") -> Figure:
    """Every curve that both runs have, one over the other, against "step" or "seconds". What was
    measured only once, in the end, is left out where there are others."""
    one, other = curves.read(first, against), curves.read(second, against)
    shared = [name for name in one if name in other]
    shared = [n for n in shared if len(one[n][0]) + len(other[n][0]) > 2] or shared
    if not shared:
        raise UserError(f"{first} and {second}: have no curve in common")
    panels = {n: {str(first): one[n], str(second): other[n]} for n in shared}
    return curves.draw(panels, against)
