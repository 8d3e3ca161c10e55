"""A sheet of drawings of held-out captions, with the captions under them."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from vismem import data as examples
from vismem.data import DataConfig
from vismem.drawing import sheets
from vismem.drawing.artist import Artist


class Grid:
    """Draws the first captions of a split.

    Args:
      artist: draws.
      data: the run's data.
      seed: of the noise: every sheet of a run starts from the same.
      split: of the source. count: pictures on the sheet.
    """

    def __init__(
        self, *, artist: Artist, data: DataConfig, seed: int, split: str = "test", count: int = 36
    ):
        self.texts = [record["text"] for record in examples.some(data, split, count)]
        self.artist, self.seed = artist, seed

    def run(self, state: Mapping[str, Any]) -> dict[str, Image.Image]:
        """The sheet, as "grid"."""
        # In whole batches, as most evaluators draw: their program serves, and none is compiled.
        drawing = self.artist.draw(self.texts, params=state["ema"], seed=self.seed, whole=True)
        return {"grid": sheets.grid(drawing.images, self.texts)}
