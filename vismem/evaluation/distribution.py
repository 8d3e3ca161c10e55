"""Whether drawings as a whole are like pictures as a whole."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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

        self.real = self.measure(enumerate(pictures()))
        kept = min(subset, len(self.texts))
        if not 1 <= nearest < kept:
            raise UserError(f"evaluators: distribution: nearest={nearest} of {kept} pictures")

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """ "fid" or "frechet, ENCODER", "kernel distance, ENCODER" and so on: see
        evaluation/distances.py."""
        return self.join([self.share(state, 0, 1)])

    def share(self, state: Mapping[str, Any], part: int, parts: int) -> dict[str, np.ndarray]:
        """Draws every so many-th batch, and returns what `measure` does."""

        def drawings() -> Iterator[tuple[int, np.ndarray]]:
            for index in range(part, -(-len(self.texts) // BATCH), parts):
                first = index * BATCH
                texts, given = self.texts[first : first + BATCH], {"params": state["ema"]}
                yield index, self.artist.draw(texts, seed=self.seed, first=first, **given).images

        return self.measure(drawings())

    def join(self, shares: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
        """The numbers of `run`, of all hosts' shares."""
        label, real = self.encoder.label, self.real["features"]
        drawn = np.concatenate([share["features"] for share in shares if share["count"]])
        numbers = {
            "kernel distance": kernel_distance(real, drawn),
            **neighbourhoods(real, drawn, self.nearest),
        }
        distance = frechet(moments([self.real]), moments(shares))
        return {
            "fid" if self.encoder.fid else f"frechet, {label}": distance,
            **{f"{name}, {label}": value for name, value in numbers.items()},
        }

    def measure(self, batches: Iterable[tuple[int, np.ndarray]]) -> dict[str, np.ndarray]:
        """The `count`, `total` and `outer` of all pictures' `Moments`, and `features` [n, E] of
        those that are among the first `subset`.

        Args:
          batches: which one of all, and its pictures, uint8 [n, H, W, 3].
        """
        found, kept = Moments(), []
        for index, images in batches:
            features = self.encoder(images)
            found += Moments.of(features)
            kept.append(features[: max(0, self.subset - index * BATCH)])
        first = np.concatenate(kept) if kept else np.zeros((0, 0))  # a host may have no batch
        return {**vars(found), "count": np.array(found.count), "features": first}


def moments(shares: Sequence[Mapping[str, np.ndarray]]) -> Moments:
    """Of all pictures, from what `measure` returned of some each."""
    each = (Moments(int(share["count"]), share["total"], share["outer"]) for share in shares)
    return sum(each, Moments())
