"""SIGTERM and SIGINT: save first, then stop."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

# What a scheduler reads from the exit code: 42 is "checkpoint saved, run me again".
EXIT_CODES = {signal.SIGTERM: 42, signal.SIGINT: 130}
# Where jax lowers and compiles.
COMPILES = ("jax/_src/compiler.py", "jax/_src/interpreters/mlir.py")


class Interrupted(BaseException):
    """Breaks off what `Signals.run` runs; not an Exception, which code in there may catch."""


def compiling(frame: FrameType | None) -> bool:
    """Whether jax is compiling: a process that breaks this off may crash as it ends (code 139)."""
    while frame and not frame.f_code.co_filename.endswith(COMPILES):
        frame = frame.f_back
    return frame is not None


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
        numbers = (*EXIT_CODES, signal.SIGALRM)
        self._before = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        if self.received:  # the process ends now, with its code: another signal changes nothing
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            os._exit(EXIT_CODES[signal.SIGINT])
        if number != signal.SIGALRM:
            self.received = signal.Signals(number)
        if not self._interruptible:
            return
        if compiling(frame):
            signal.setitimer(signal.ITIMER_REAL, 0.1)  # comes back as SIGALRM
        else:
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
            # An alarm that came once Python has given its handlers up would kill the process.
            signal.setitimer(signal.ITIMER_REAL, 0)
