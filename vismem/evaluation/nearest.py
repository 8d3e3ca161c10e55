"""Drawings beside the training pictures nearest to them: is anything drawn, or only remembered?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from vismem import data as examples
from vismem.data import DataConfig
from vismem.data.images import fit
from vismem.drawing import sheets
from vismem.drawing.artist import Artist


class Nearest:
    """Draws captions of a split and looks for each drawing among the training pictures.

    Args:
      artist: draws.
      data: the run's data.
      seed: of the noise.
      split: whose captions are drawn. count: how many.
      among: training pictures compared with, at most.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        split: str = "test",
        count: int = 64,
        among: int = 5_000,
    ):
        kept, train = examples.some(data, split, count), examples.some(data, "train", among)
        self.texts = [example["text"] for example in kept]
        self.truth, self.train = (
            np.stack([fit(example["image"], data.size) for example in found])
            for found in (kept, train)
        )
        self.artist, self.seed = artist, seed

    def run(self, state: Mapping[str, Any]) -> dict[str, float | Image.Image]:
        """Root mean squared distances in pixel values from 0 to 255, and a sheet.

        `nearest/drawn` is the mean distance of drawings to their nearest training picture,
        `nearest/held_out` that of the held-out pictures themselves: drawings much nearer than those
        were remembered. The sheet shows drawings and their nearest neighbours in turn.
        """
        images = self.artist.draw(self.texts, params=state["ema"], seed=self.seed).images
        indices, drawn = nearest(images, self.train)
        _, held_out = nearest(self.truth, self.train)
        pairs = np.stack([images, self.train[indices]], axis=1).reshape(-1, *images.shape[1:])
        texts = [line for text in self.texts for line in (text, "nearest in training")]
        return {
            "nearest/drawn": float(drawn.mean()),
            "nearest/held_out": float(held_out.mean()),
            "nearest": sheets.grid(pairs, texts, columns=16, side=64),
        }


def nearest(queries: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every picture its nearest neighbour.

    Args:
      queries: uint8 [N, H, W, 3].
      among: uint8 [M, H, W, 3].

    Returns:
      indices int [N] into `among`, and root mean squared distances [N] in pixel values.
    """
    q = queries.reshape(len(queries), -1).astype(np.float64)
    squared = np.empty((len(queries), len(among)))
    for start in range(0, len(among), 256):  # all at once are gigabytes from 128 px on
        a = among[start : start + 256].reshape(-1, q.shape[1]).astype(np.float64)
        squared[:, start : start + 256] = (a**2).sum(1) - 2 * q @ a.T
    squared += (q**2).sum(1)[:, None]
    indices = squared.argmin(1)
    distances = np.take_along_axis(squared, indices[:, None], 1)[:, 0]
    return indices, np.sqrt(np.maximum(distances, 0) / q.shape[1])
