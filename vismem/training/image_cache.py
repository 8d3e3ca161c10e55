"""Features of a locked image tower, computed once for each picture and kept on disk.

A picture is found by its pixels. Augmented pictures hardly ever come again: of those nothing is
gained.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np

from vismem.config import RunConfig
from vismem.errors import UserError
from vismem.objectives.base import Objective, Params
from vismem.training.feature_store import (
    FeatureStore,
    as_params,
    fingerprint,
    frozen,
    frozen_weights,
)
from vismem.training.optimizer import Optimizer
from vismem.training.state import State

Batch = Mapping[str, np.ndarray]


def make(
    config: RunConfig, objective: Objective, optimizer: Optimizer, state: State
) -> Callable[[Batch], Batch]:
    """What puts `image_features` [b, E] in the place of a host's pictures, if `data.cache_image`
    says so.
    """
    folder = config.data.cache_image
    if not folder:
        return lambda batch: batch
    check(config, objective)
    weights = frozen_weights("vision", f"data.cache_image={folder!r}", optimizer, state)
    vision = {k: v for k, v in config.vision.items() if k != "folder"}
    name = fingerprint([vision, config.objective.get("dtype", "float32")], weights)
    return ImageCache(
        Path(folder), name, partial(objective.image_features, as_params(weights)), config.data.size
    )


def shapes(
    config: RunConfig,
    objective: Objective,
    optimizer: Optimizer,
    params: Params,
    batch: Mapping[str, jax.ShapeDtypeStruct],
) -> dict[str, jax.ShapeDtypeStruct]:
    """Those of batches with what `make` puts into them.

    Args:
      params: their shapes. batch: of the shapes of its arrays.
    """
    folder = config.data.cache_image
    if not folder:
        return dict(batch)
    check(config, objective)
    frozen("vision", f"data.cache_image={folder!r}", optimizer, params)
    features = jax.eval_shape(objective.image_features, params, batch["image"])
    return {k: x for k, x in batch.items() if k != "image"} | {"image_features": features}


def check(config: RunConfig, objective: Objective) -> None:
    """One line, if the objective has no locked image tower."""
    if not hasattr(objective, "image_features"):
        folder = config.data.cache_image
        raise UserError(f"data.cache_image={folder!r}: is for two towers; leave it empty")


class ImageCache(FeatureStore):
    """Features for the pictures of batches.

    Args:
      encode: uint8 [b, S, S, 3] -> features [b, E].
      size: S.
    """

    def __init__(
        self, folder: Path, name: str, encode: Callable[[np.ndarray], jax.Array], size: int
    ):
        super().__init__(folder, name, "data.cache_image")
        self.encode = encode
        self.dtype = jax.eval_shape(
            encode, jax.ShapeDtypeStruct((1, size, size, 3), np.uint8)
        ).dtype

    def __call__(self, batch: Batch) -> Batch:
        """The batch with `image_features` [b, E] for its `image`."""
        keys = [
            hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in batch["image"]
        ]

        def compute() -> dict[bytes, bytes]:
            computed = np.asarray(self.encode(batch["image"]))
            return {key: x.tobytes() for key, x in zip(keys, computed)}

        found = self.features(keys, compute)
        features = np.stack([np.frombuffer(found[key], self.dtype) for key in keys])
        return {k: v for k, v in batch.items() if k != "image"} | {"image_features": features}
