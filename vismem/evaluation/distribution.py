"""Whether drawings as a whole are like pictures as a whole."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from vismem import data as examples
from vismem.data import DataConfig
from vismem.data.images import fit
from vismem.drawing.artist import Artist
from vismem.errors import UserError
from vismem.evaluation.distances import Moments, frechet, kernel_distance, neighbourhoods
from vismem.evaluation.encoder import Encoder


class Distribution:
    """Draws the captions of a split and compares the drawings with the split's pictures.

    Args:
      artist: draws.
      data: the run's data.
      seed: of the noise.
      mesh: of the run.
      encoder: whose features are compared (evaluation/encoder.py).
      split: of the source. count: captions, and pictures.
      nearest: the neighbour that a ball reaches to.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        mesh: Mesh,
        encoder: Mapping[str, Any],
        split: str = "test",
        count: int = 1024,
        nearest: int = 5,
    ):
        kept = examples.some(data, split, count)
        if not 1 <= nearest < len(kept):
            raise UserError(f"evaluators: distribution: nearest={nearest} of {len(kept)} pictures")
        self.texts = [example["text"] for example in kept]
        self.encoder = Encoder(encoder, data.size, mesh)
        self.real = self.encoder(np.stack([fit(e["image"], data.size) for e in kept]))
        self.artist, self.seed, self.nearest = artist, seed, nearest

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """ "frechet, ENCODER" and so on: see evaluation/distances.py."""
        images = self.artist.draw(self.texts, params=state["ema"], seed=self.seed).images
        drawn = self.encoder(images)
        numbers = {
            "frechet": frechet(Moments.of(self.real), Moments.of(drawn)),
            "kernel distance": kernel_distance(self.real, drawn),
            **neighbourhoods(self.real, drawn, self.nearest),
        }
        return {f"{name}, {self.encoder.label}": value for name, value in numbers.items()}
