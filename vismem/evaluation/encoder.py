"""The encoder on whose features sets of pictures are compared."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from vismem import registry
from vismem.evaluation.critic import Critic
from vismem.models import VISION_ENCODERS
from vismem.pretrained import encoders, inception

BATCH = 128  # Pictures at once: they come in any number, compiled programs in one size.
ENCODERS = VISION_ENCODERS | {"towers": "vismem.evaluation.encoder:towers"}
RESIZED = {"size": 299, "resize": "cubic"}  # how pictures come to Inception, as clean-fid has it

FindCritic = Callable[[str], Critic]  # a run's folder -> its critic


class Encoder:
    """Features of pictures.

    Args:
      choice: `{"name": "pretrained", "folder": ...}`, of Inception, DINOv2 and all the others of
        pretrained/encoders.py, or what `vismem export --part vision` made of a run;
        `{"name": "towers", "folder": ...}`, a run of the objective contrastive, whose picture
        tower's embeddings are the features; or `{"name": ..., **options}` of
        models.VISION_ENCODERS, with random parameters, the same in every run.
      size: height and width of the pictures.
      mesh: for the parameters.
      critic: for "towers".

    Attributes:
      label: names the encoder beside its numbers: the folder's name, or "random NAME".
      fid: whether it is the one with which the Frechet distance is called FID: the Inception of
        2015 as pretrained/inception.py converts it, on pictures resized as clean-fid does (Parmar
        et al. 2022).
    """

    def __init__(
        self, choice: Mapping[str, Any], size: int, mesh: Mesh, critic: FindCritic | None = None
    ):
        name, folder, found = choice.get("name"), choice.get("folder"), {}
        self.label = f"random {name}" if folder is None else Path(folder).name
        self.fid = False
        if name == "pretrained" and folder is not None:
            found = encoders.options(encoders.describe(folder, "vision"), "vision")
            if found["encoder"]["name"] == "inception":
                choice = RESIZED | dict(choice)
                scaled = found["mean"] == found["std"] == [inception.SCALING["fid"]] * 3
                clean = scaled and RESIZED.items() <= choice.items()
                self.fid = clean and found["encoder"]["variant"] == "fid"
        made = registry.build(ENCODERS, {**choice, **found}, "encoder", critic=critic)
        if isinstance(made, Critic):
            self._params, self._embed = made.params, made.embed
        else:
            if found:
                self._params = {"module": encoders.load(folder, "vision", mesh)}
            else:
                blank = jnp.zeros((1, size, size, 3))
                self._params = nn.unbox(jax.jit(made.init)(jax.random.key(0), blank))["params"]
            self._embed = lambda params, x: made.apply({"params": params}, x).pooled
        self._apply = jax.jit(lambda params, images: self._embed(params, images / 127.5 - 1))

    def features(self, pictures: jax.Array) -> jax.Array:
        """[N, H, W, 3] in [-1, 1] -> [N, E], to be traced and differentiated by the caller."""
        return self._embed(self._params, pictures)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 3] -> float32 [N, E]."""
        found, size = [], min(BATCH, len(images))
        for start in range(0, len(images), size):
            rows = np.minimum(np.arange(start, start + size), len(images) - 1)
            features = self._apply(self._params, images[rows].astype(np.float32))
            found.append(np.asarray(features, np.float32)[: len(images) - start])
        return np.concatenate(found)


def towers(folder: str, critic: FindCritic) -> Critic:
    """A run whose picture tower is an encoder."""
    return critic(folder)
