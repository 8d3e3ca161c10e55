"""Whether drawings as a whole are like pictures as a whole."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from jax.sharding import Mesh

from vismem import data as examples
from vismem.data import DataConfig
from vismem.data.images import fit
from vismem.drawing.artist import BATCH, Artist
from vismem.errors import UserError
from vismem.evaluation.distances import Moments, frechet, kernel_distance, neighbourhoods
from vismem.evaluation.encoder import Encoder, FindCritic


class Distribution:
    """Draws the captions of a split and compares the drawings with the split's pictures.

    Args:
      artist: draws.
      data: the run's data.
      seed: of the noise.
      mesh: of the run.
      critic: of any run, for the encoder.
      encoder: whose features are compared (evaluation/encoder.py).
      split: of the source. count: captions, and pictures; they pass in batches, and of each no more
        is kept than what it adds to the sums that the Frechet distance is of.
      subset: the first so many, whose features are kept for the other numbers.
      nearest: the neighbour that a ball reaches to.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        mesh: Mesh,
        critic: FindCritic,
        encoder: Mapping[str, Any],
        split: str = "test",
        count: int = 1024,
        subset: int = 1024,
        nearest: int = 5,
    ):
        self.artist, self.seed, self.subset, self.nearest = artist, seed, subset, nearest
        self.encoder = Encoder(encoder, data.size, mesh, critic)
        self.texts: list[str] = []
        found = examples.each(data, split, count)

        def pictures() -> Iterator[np.ndarray]:
            while some := list(islice(found, BATCH)):
                self.texts += [example["text"] for example in some]
                yield np.stack([fit(example["image"], data.size) for example in some])

        self.real = self.measure(pictures())
        kept = min(subset, len(self.texts))
        if not 1 <= nearest < kept:
            raise UserError(f"evaluators: distribution: nearest={nearest} of {kept} pictures")

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """ "fid" or "frechet, ENCODER", "kernel distance, ENCODER" and so on: see
        evaluation/distances.py."""
        drawn = self.measure(
            self.artist.draw(
                self.texts[first : first + BATCH], params=state["ema"], seed=self.seed, first=first
            ).images
            for first in range(0, len(self.texts), BATCH)
        )
        (real_moments, real), (moments, features) = self.real, drawn
        label = self.encoder.label
        numbers = {
            "kernel distance": kernel_distance(real, features),
            **neighbourhoods(real, features, self.nearest),
        }
        return {
            "fid" if self.encoder.fid else f"frechet, {label}": frechet(real_moments, moments),
            **{f"{name}, {label}": value for name, value in numbers.items()},
        }

    def measure(self, batches: Iterable[np.ndarray]) -> tuple[Moments, np.ndarray]:
        """The moments of all pictures' features, and the features of the first `subset`.

        Args:
          batches: uint8 [n, H, W, 3] each.
        """
        moments, kept = Moments(), []
        for images in batches:
            features = self.encoder(images)
            moments += Moments.of(features)
            kept.append(features[: max(0, self.subset - moments.count + len(features))])
        return moments, np.concatenate(kept)
