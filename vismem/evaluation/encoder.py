"""The encoder on whose features sets of pictures are compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from vismem import registry
from vismem.models import VISION_ENCODERS
from vismem.pretrained import encoders

BATCH = 128  # Pictures at once: they come in any number, compiled programs in one size.


class Encoder:
    """Features of pictures.

    Args:
      choice: `{"name": ..., **options}` of models.VISION_ENCODERS, with random parameters, the same
        in every run; or `{"name": "pretrained", "folder": ...}`, which may be what `vismem export
        --part vision` made of a run.
      size: height and width of the pictures.
      mesh: for the parameters.

    Attributes:
      label: names the encoder beside its numbers.
    """

    def __init__(self, choice: Mapping[str, Any], size: int, mesh: Mesh):
        folder = choice.get("folder")
        if folder is None:
            self.label = f"random {choice.get('name')}"
            module = registry.build(VISION_ENCODERS, choice, "encoder")
            blank = jnp.zeros((1, size, size, 3))
            params = nn.unbox(jax.jit(module.init)(jax.random.key(0), blank))["params"]
        else:
            self.label = Path(folder).name
            found = encoders.options(encoders.describe(folder, "vision"), "vision")
            module = registry.build(VISION_ENCODERS, {**choice, **found}, "encoder")
            params = {"module": encoders.load(folder, "vision", mesh)}
        self._module, self._params = module, params
        self._apply = jax.jit(
            lambda params, images: module.apply({"params": params}, images / 127.5 - 1).pooled
        )

    def features(self, pictures: jax.Array) -> jax.Array:
        """[N, H, W, 3] in [-1, 1] -> [N, E], to be traced and differentiated by the caller."""
        return self._module.apply({"params": self._params}, pictures).pooled

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 3] -> float32 [N, E]."""
        found, size = [], min(BATCH, len(images))
        for start in range(0, len(images), size):
            rows = np.minimum(np.arange(start, start + size), len(images) - 1)
            features = self._apply(self._params, images[rows].astype(np.float32))
            found.append(np.asarray(features, np.float32)[: len(images) - start])
        return np.concatenate(found)
