"""Whether a folder's model gives the outputs that are stored beside it."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from flax.errors import FlaxError
from rich.console import Console
from rich.table import Table

from vismem.errors import UserError
from vismem.pretrained.checkpoint import family_of, find, load


def errors(folder: str | Path) -> dict[str, float]:
    """The largest error of each array in outputs.npz, given inputs.npz.

    Both hold arrays under transformers' names and in its layouts. An error is absolute, divided by
    the largest absolute output; of integers, such as greedy tokens, it is 0 where all are equal and
    else 1. Positions that a mask leaves out do not count.

    Raises:
      UserError: a file or an input is missing, or an output is not one of the model's; or there
        are none.
    """
    folder = find(folder)
    inputs, expected = _arrays(folder / "inputs.npz"), _arrays(folder / "outputs.npz")
    if not expected:
        raise UserError(f"{folder / 'outputs.npz'}: no arrays; verifying needs outputs")
    module, params, config = load(folder)
    family = family_of(config, folder)
    shapes = {name: values.shape for name, values in expected.items()}
    given = {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in inputs.items()}
    try:
        run = jax.jit(lambda params, inputs: family.run(module, params, inputs, shapes))
        outputs = jax.device_get(run(params, given))
    except KeyError as error:
        raise UserError(
            f"{folder / 'inputs.npz'}: holds no {error}, which the model takes"
        ) from None
    except (UserError, FlaxError, LookupError, TypeError, ValueError) as error:
        held = ", ".join(f"{name} {v.dtype} {list(v.shape)}" for name, v in inputs.items())
        reason = " ".join(str(error).split(" (https")[0].split())
        raise UserError(
            f"{folder / 'inputs.npz'}: {held} is not what the model takes ({reason})"
        ) from error
    found = {}
    for name, values in expected.items():
        if name not in outputs:
            known = ", ".join(sorted(outputs))
            raise UserError(f"{folder / 'outputs.npz'}: {name!r} is none of the model's: {known}")
        if outputs[name].shape != values.shape:
            raise UserError(
                f"{folder / 'outputs.npz'}: {name!r} is {list(values.shape)}; the model gives "
                f"{list(outputs[name].shape)}"
            )
        found[name] = _error(outputs[name], values, inputs.get(family.masks.get(name)))
    return found


def _error(output: np.ndarray, expected: np.ndarray, mask: np.ndarray | None) -> float:
    """The largest error of an output, as `errors` has it."""
    if np.issubdtype(expected.dtype, np.integer):
        off, scale = output != expected, 1
    else:
        off, scale = np.abs(output.astype(np.float64) - expected), np.abs(expected).max()
    if mask is not None:
        off = off[mask > 0]
    return float(off.max(initial=0) / (scale or 1))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError(f"{path}: missing; verifying needs inputs.npz and outputs.npz") from None
    except Exception as error:  # numpy and zipfile raise several kinds for damaged files
        raise UserError(f"{path}: cannot be read as arrays ({error})") from None


def show(errors: Mapping[str, float], tolerance: float, title: str) -> None:
    """Prints the errors as a table, with which of them are too large."""
    table = Table("array", title=title)
    table.add_column("largest error", justify="right")
    table.add_column("")
    for name, error in errors.items():
        table.add_row(name, f"{error:.1e}", "ok" if error <= tolerance else "too large")
    Console().print(table)
