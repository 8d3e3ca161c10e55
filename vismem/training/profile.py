"""A profile of some steps, for TensorBoard or xprof: `vismem train ... --profile 10:15`."""

import logging
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
        if steps and not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise UserError(f"--profile {steps}: reads FIRST:LAST, as in 10:15; steps count from 1")
        self.folder = folder / FOLDER
        self.first, self.last = (int(first), int(last)) if steps else (0, 0)
        self.tracing = False

    def among(self, done: int, steps: int) -> None:
        """A warning, if none of the steps is among those that a run goes on with, after `done` of
        its `steps`. No error: a run that is resumed may have traced them before."""
        if self.last and (self.last <= done or self.first > steps):
            logging.getLogger(__name__).warning(
                "--profile %d:%d: traces nothing, as the run goes on from step %d to %d",
                *(self.first, self.last, done, steps),
            )

    def before(self, step: int) -> None:
        """Begins, if `step` is among those to be traced."""
        if self.first <= step <= self.last and not self.tracing and jax.process_index() == 0:
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
