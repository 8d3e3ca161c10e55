"""The critic: how well pictures fit texts, judged by two trained towers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from vismem.data.images import fit
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.objectives.base import Objective, Params

BATCH = 128  # Embedded at once: they come in any number, compiled programs in one size.


class Critic:
    """Scores pictures and texts.

    Args:
      objective: one with two towers.
      tokenizer: the run's.
      params: {"towers": tree}; may be set later.
    """

    def __init__(self, objective: Objective, tokenizer: Tokenizer, params: Params | None = None):
        if not hasattr(objective, "embed_images"):
            raise UserError(
                "objective: pictures are compared with texts by two towers; "
                "train a run with objective.name=contrastive"
            )
        self.objective, self.tokenizer, self.params = objective, tokenizer, params

    def score(self, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> np.ndarray:
        """How well each picture fits the text of the same place, as a cosine: float32 [N].

        Args:
          pictures: uint8 [H, W, 3] each, of any size.
          texts: as many.
        """
        if len(pictures) != len(texts):
            raise UserError(f"critic: {len(pictures)} pictures, but {len(texts)} texts")
        return (self.images(pictures) * self.texts(texts)).sum(1)

    def images(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of unit length, float32 [N, E]."""
        return self._batched(
            self.objective.embed_images, [self.fit(picture) for picture in pictures]
        )

    def features(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """What the image encoder finds before the embedding, float32 [N, E']."""
        return self._batched(
            self.objective.image_features, [self.fit(picture) for picture in pictures]
        )

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of unit length, float32 [N, E]."""
        if any(not text.strip() for text in texts):
            raise UserError("critic: a text is empty; say what to look for")
        return self._batched(self.objective.embed_texts, [self.tokenizer.encode(t) for t in texts])

    def cosines(self, params: Params, wanted: jax.Array, pictures: jax.Array) -> jax.Array:
        """How well pictures fit, as a function to be differentiated.

        Args:
          params: {"towers": tree}.
          wanted: embeddings of texts, [N, E].
          pictures: float32 [N, H, W, 3] in [-1, 1], square.

        Returns:
          [N].
        """
        return (self.embed(params, pictures) * wanted).sum(1)

    def embed(self, params: Params, pictures: jax.Array) -> jax.Array:
        """Embeddings of unit length [N, E] as a function to be differentiated; arguments as of
        `cosines`."""
        size = self.objective.image_size
        if pictures.shape[1] != size:
            pictures = jax.image.resize(pictures, (len(pictures), size, size, 3), "lanczos3")
        return self.objective.embed_images(params, (pictures + 1) * 127.5)

    def fit(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] as the towers take it."""
        return fit(picture, self.objective.image_size)

    def _batched(
        self, embed: Callable[[Params, np.ndarray], Any], items: Sequence[np.ndarray]
    ) -> np.ndarray:
        if not items:
            raise UserError("critic: there is nothing to score")
        found = []
        for start in range(0, len(items), BATCH):
            chunk = list(items[start : start + BATCH])
            padded = np.stack(chunk + [chunk[-1]] * (BATCH - len(chunk)))
            found.append(np.asarray(embed(self.params, padded))[: len(chunk)])
        return np.concatenate(found)
