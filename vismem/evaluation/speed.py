"""How fast a run draws."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

from vismem import data as examples
from vismem.data import DataConfig
from vismem.drawing.artist import BATCH, Artist


class Speed:
    """Draws the same captions again and again, and looks at the clock: wall time, on the devices of
    the host that evaluates. What else the machine does meanwhile counts.

    Args:
      artist: draws.
      data: the run's data.
      split: of the source. count: captions drawn at once, at most.
      rounds: drawings of all of them, after one that is not timed, in which they are compiled.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        split: str = "test",
        count: int = BATCH,
        rounds: int = 5,
    ):
        self.texts = [example["text"] for example in examples.some(data, split, count)]
        self.artist, self.rounds = artist, rounds

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`drawing/pictures_per_second`, from texts to finished pictures, the median of the rounds;
        `drawing/steps` of the solver, and `drawing/evaluations` of the network, a picture."""
        drawing = self.artist.draw(self.texts, params=state["ema"])
        seconds = []
        for seed in range(self.rounds):
            begun = time.perf_counter()
            self.artist.draw(self.texts, params=state["ema"], seed=seed)
            seconds.append(time.perf_counter() - begun)
        return {
            "drawing/pictures_per_second": len(self.texts) / statistics.median(seconds),
            "drawing/steps": self.artist.config.steps,
            "drawing/evaluations": drawing.evaluations,
        }
