"""The runs that a command line asks for: one, a grid of settings, or the file's own sweep."""

import ast
import itertools
import re
from collections.abc import Sequence
from typing import Any

from vismem import config
from vismem.errors import UserError
from vismem.reports import sweeps
from vismem.reports.sweeps import Run, Sweep


def runs(file: str, axes: Sequence[str] | None) -> list[Run]:
    """The runs of `--sweep`, resolved.

    Args:
      file: "FILE[:ARGUMENT]".
      axes: all combinations of "lr=1e-4,3e-4" and "seed=0:3,7"; of a key its end is enough. Empty
        for the file's own sweep(), None for a single run, the one that `vismem train` would do.
    """
    if axes is None:
        settings = config.load(file)
        return [
            Run(file, "", settings.get("seed", 0), (), settings, sweeps.RUNS / sweeps.name(file))
        ]
    if not axes:
        return sweeps.runs(file)
    known = list(sweeps.changes({}, config.load(file)))
    grid = {}
    for text in axes:
        key, values = axis(text, known)
        if key in grid:
            raise UserError(f"--sweep {text}: {key} is given twice; write its values as one list")
        grid[key] = values
    seeds = grid.pop("seed", {"0": 0})
    rows = {}
    for texts in itertools.product(*grid.values()):
        label = " ".join(f"{key.split('.')[-1]}={text}" for key, text in zip(grid, texts))
        rows[label or "seeds"] = {key: grid[key][text] for key, text in zip(grid, texts)}
    return sweeps.runs(file, Sweep(rows, tuple(seeds.values())))


def axis(text: str, known: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """A key in full and its values by how they were written, of "lr=1e-4,3e-4".

    Args:
      known: keys that the file sets.
    """
    short, equals, written = text.partition("=")
    if not equals or not written:
        raise UserError(f"--sweep {text}: reads KEY=VALUE,VALUE or KEY=FIRST:END")
    ends = [key for key in known if key.endswith(f".{short}")]
    full = short in known or short == "seed" or not ends  # a key need not be in the file
    if not full and len(ends) > 1:
        raise UserError(f"--sweep {text}: {short} may be {' or '.join(ends)}; write one in full")
    values = {value: literal(value) for part in written.split(",") for value in expanded(part)}
    return short if full else ends[0], values


def expanded(text: str) -> Sequence[str]:
    """The numbers of "2:5" without its end, each as text; anything else as it is."""
    if not re.fullmatch(r"\d+:\d+", text):
        return (text,)
    return tuple(map(str, range(*map(int, text.split(":")))))


def literal(text: str) -> Any:
    """A value as the command line of `vismem train` reads it."""
    try:
        return {"true": True, "false": False, "none": None}[text.lower()]
    except KeyError:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
