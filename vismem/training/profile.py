"""A profile of some steps, for TensorBoard or xprof: `vismem train ... --profile 10:15`."""

from pathlib import Path

import jax

from vismem.errors import UserError

FOLDER = "profile"  # in the run's


class Profile:
    """Traces steps on the first host; use as a context.

    Args:
      folder: of the run.
      steps: the first and the last that are traced, "10:15"; "" for none.
    """

    def __init__(self, folder: Path, steps: str):
        first, _, last = steps.partition(":")
        if steps and not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise UserError(f"--profile {steps}: reads FIRST:LAST, as in 10:15")
        self.folder = folder / FOLDER
        self.first, self.last = (int(first), int(last)) if steps else (0, 0)
        self.tracing = False

    def before(self, step: int) -> None:
        """Begins, if `step` is the first."""
        if step == self.first and jax.process_index() == 0:
            jax.profiler.start_trace(self.folder)
            self.tracing = True

    def after(self, step: int) -> None:
        """Ends, if `step` was the last; it is done on the device."""
        if self.tracing and step >= self.last:
            jax.profiler.stop_trace()
            self.tracing = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self.after(self.last)
