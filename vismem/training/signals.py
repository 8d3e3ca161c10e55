"""SIGTERM and SIGINT: save first, then stop."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

# What a scheduler reads from the exit code: 42 is "checkpoint saved, run me again".
EXIT_CODES = {signal.SIGTERM: 42, signal.SIGINT: 130}


class Interrupted(Exception):
    """Breaks off what `Signals.run` runs."""


class Signals:
    """While entered, the first signal is noted; a second SIGINT quits at once.

    Attributes:
      received: the signal that came to this host.
      agreed: whether all hosts know that one came to any of them. The loop sees to it, and to that
        they learn it after the same step.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self.agreed = False
        self._interruptible = False

    def __enter__(self) -> "Signals":
        self._before = {number: signal.signal(number, self._handle) for number in EXIT_CODES}
        return self

    def __exit__(self, *_: object) -> None:
        if self.received:  # the process ends now, with its code: another signal changes nothing
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            os._exit(EXIT_CODES[signal.SIGINT])
        self.received = signal.Signals(number)
        if self._interruptible:
            raise Interrupted

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`, or None if a signal came before its end.

        For what takes long and changes nothing that is saved, such as an evaluation.
        """
        if self.received:
            return None
        try:
            self._interruptible = True
            result = function(*arguments)
            self._interruptible = False
            return result
        except Interrupted:
            return None
        finally:
            self._interruptible = False
