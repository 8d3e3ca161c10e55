"""The meter of the loop: how fast it is, and where the time goes."""

import contextlib
import time
from collections.abc import Iterator
from typing import Literal

OVER = 2.0  # seconds that a speed is measured over


class Meter:
    """Speed over the last seconds, and what of the run's time was of use.

    The loop waits for a batch, waits for the device, or works itself: so a step's time is split
    without a profiler. The device should have nearly all of it.

    Attributes:
      speed: once measured,
        images_per_second;
        mfu: FLOPs a second that the model needs (flops.py), as a share of the machine's peak;
        device_seconds, data_seconds, host_seconds: of a step, waiting for either and the rest;
        goodput: of the time since the run began, the share spent in steps. The rest is what was
          prepared, compiled, evaluated and saved.

    Args:
      batch_size: images a step. flops: of a step. peak: FLOP/s of the machine.
      begun: when the run did, by `time.perf_counter`.
    """

    def __init__(self, batch_size: int, flops: float, peak: float, begun: float):
        self.batch_size, self.flops, self.peak, self.begun = batch_size, flops, peak, begun
        self.speed: dict[str, float] = {}
        self._in_steps = 0.0  # seconds
        self._spent = {"data": 0.0, "device": 0.0, "pause": 0.0}  # since the mark
        self._mark: tuple[float, int] | None = None  # the first step is mostly compilation

    @contextlib.contextmanager
    def during(self, what: Literal["data", "device", "pause"]) -> Iterator[None]:
        """The time of what happens inside: waiting for either, or no part of a step."""
        start = time.perf_counter()
        yield
        self._spent[what] += time.perf_counter() - start

    def arrived(self, step: int, last: bool) -> None:
        """Measures anew if enough time has passed, or it was the `last`, when a step is done."""
        now = time.perf_counter()
        if self._mark is not None:
            since, before = self._mark
            if now - since <= OVER and not last:
                return
            seconds, steps = now - since - self._spent["pause"], step - before
            self._in_steps += seconds
            device, data = self._spent["device"] / steps, self._spent["data"] / steps
            self.speed = {
                "images_per_second": self.batch_size * steps / seconds,
                "mfu": self.flops * steps / seconds / self.peak,
                "device_seconds": device,
                "data_seconds": data,
                "host_seconds": seconds / steps - device - data,
                "goodput": self._in_steps / (now - self.begun),
            }
        self._mark = (now, step)
        self._spent = dict.fromkeys(self._spent, 0.0)
