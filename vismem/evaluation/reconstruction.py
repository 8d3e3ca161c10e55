"""What an autoencoder keeps of pictures."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from PIL import Image

from vismem import data as examples
from vismem.data import DataConfig
from vismem.data.images import fit
from vismem.drawing import sheets
from vismem.drawing.artist import to_uint8
from vismem.errors import UserError
from vismem.objectives.autoencode import Autoencode
from vismem.worlds import oracle
from vismem.worlds.scores import recovered


class Reconstruction:
    """Encodes and decodes held-out pictures.

    Args:
      objective: `autoencode`.
      data: the run's data.
      split: of the source. count: pictures, at most.
      batch_size: pictures at a time.
    """

    def __init__(
        self,
        *,
        objective: Autoencode,
        data: DataConfig,
        split: str = "test",
        count: int = 512,
        batch_size: int = 128,
    ):
        if not isinstance(objective, Autoencode):
            raise UserError("evaluators: reconstruction is of the objective 'autoencode' only")
        records = examples.some(data, split, count)
        self.images = np.stack([fit(record["image"], data.size) for record in records])
        self.texts = [record["text"] for record in records]
        self.is_world = data.source["name"] == "world"
        self.split, self.batch_size = split, batch_size
        fsq = objective.autoencoder.fsq
        self.vocab_size = fsq.vocab_size

        def reconstruct(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
            codes = objective.encode(params, images)
            return objective.decode(params, codes), fsq.tokens(codes)

        self.reconstruct = jax.jit(reconstruct)

    def run(self, state: Mapping[str, Any]) -> dict[str, float | Image.Image]:
        """Numbers by name, "test/psnr" and so on, and a sheet of pictures each followed by what
        came back.

        `psnr` is in decibels, of the mean squared error over all pictures. `codes` is the share of
        all tokens that occur, `perplexity` how many there would be were they equally frequent. Of
        world pictures, `exact_scene` is the share from which the oracle reads what it read before.
        """
        chunks = range(0, len(self.images), self.batch_size)
        parts = [
            jax.device_get(self.reconstruct(state["ema"], self.images[i : i + self.batch_size]))
            for i in chunks
        ]
        restored = to_uint8(np.concatenate([pictures for pictures, _ in parts]))
        _, counts = np.unique(np.concatenate([tokens for _, tokens in parts]), return_counts=True)
        error = np.square(restored.astype(np.float64) - self.images).mean()
        shares = counts / counts.sum()
        numbers = {
            "psnr": float(10 * np.log10(255**2 / max(error, 1e-9))),
            "codes": len(shares) / self.vocab_size,
            "perplexity": float(np.exp(-(shares * np.log(shares)).sum())),
        }
        if self.is_world:
            same = [
                recovered(oracle.read(before), oracle.read(after))
                for before, after in zip(self.images, restored)
            ]
            numbers["exact_scene"] = float(np.mean(same))
        pairs = np.stack([self.images, restored], axis=1)[:32].reshape(-1, *restored.shape[1:])
        texts = [line for text in self.texts[:32] for line in (text, "reconstructed")]
        named = {f"{self.split}/{name}": value for name, value in numbers.items()}
        return named | {"reconstruction": sheets.grid(pairs, texts, columns=8, side=96)}
