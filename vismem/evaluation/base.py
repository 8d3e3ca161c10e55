"""What the training loop asks of an evaluator."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import numpy as np
from PIL import Image

from vismem.errors import UserError
from vismem.parallel import hosts
from vismem.registry import parameters

COUNTS = (int, int | None, tuple[int, ...])  # types of options that say how many

Numbers = dict[str, float | Image.Image]
Arrays = Mapping[str, np.ndarray]


class Evaluator(Protocol):
    """Measures a state. A number that reaches a table comes from one of these.

    Its options of whole numbers say how many, and are at least 1, or 0 if it names them in
    `MAY_BE_0`.
    """

    def run(self, state: dict[str, Any]) -> Numbers:
        """Name -> number, or a figure as a Pillow image. One host does it alone.

        Args:
          state: the train state; what is evaluated is its running average, `state["ema"]`.
        """


class SharedEvaluator(Evaluator, Protocol):
    """One whose work hosts can share."""

    def share(self, state: dict[str, Any], part: int, parts: int) -> Arrays:
        """What comes of the work that belongs to host `part` of so many; they do not talk."""

    def join(self, shares: Sequence[Arrays]) -> Numbers:
        """What `run` returns, from the shares of all."""


def check_counts(evaluator: type, options: Mapping[str, Any], key: str) -> None:
    """One line, before the training, if one of an evaluator's whole numbers is too small.

    Args:
      options: of the evaluator, in the config under `key`; of any type.
    """
    declared = parameters(evaluator) | {"seed": None}  # which is the run's
    for option, value in options.items():
        if declared.get(option) in COUNTS:
            least = int(option not in getattr(evaluator, "MAY_BE_0", ()))
            found = value if isinstance(value, tuple) else (value,)
            if any(isinstance(x, int) and x < least for x in found):
                raise UserError(f"{key}.{option}={value}: must be at least {least}")


def shared(
    evaluator: Evaluator, state: dict[str, Any], attempt: Callable[..., Any]
) -> Callable[[], Numbers | None]:
    """Does what all hosts do of an evaluation together, and returns what the first has left to do.

    All hosts must get here.

    Args:
      attempt: calls a function with arguments, or returns None if this host must stop; then what is
        left is to return None.
    """
    if jax.process_count() == 1 or not hasattr(evaluator, "share"):
        return partial(evaluator.run, state)
    part, parts = jax.process_index(), jax.process_count()
    shares = hosts.gather(attempt(evaluator.share, state, part, parts))
    return lambda: None if any(share is None for share in shares) else evaluator.join(shares)
