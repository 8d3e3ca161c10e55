"""Features of a frozen text encoder, computed once for each text and kept on disk.

A text is found by its token ids: they are all of tokenizer and text that the encoder sees.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np

from vismem.config import RunConfig
from vismem.errors import UserError
from vismem.objectives.base import Drawer, Params
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
    config: RunConfig, objective: Drawer, optimizer: Optimizer, state: State
) -> Callable[[Batch], Batch]:
    """What adds `text_features` [b, L, E] to this host's batches, if `data.cache_text` says so."""
    folder = config.data.cache_text
    if not folder:
        return lambda batch: batch
    encode = jax.jit(encoder(config, objective))
    weights = frozen_weights("text", f"data.cache_text={folder!r}", optimizer, state)
    text = {k: v for k, v in config.text.items() if k not in ("folder", "file")}
    name = fingerprint([text, config.painter.dtype], weights)
    return TextCache(Path(folder), name, partial(encode, as_params(weights)))


def shapes(
    config: RunConfig,
    objective: Drawer,
    optimizer: Optimizer,
    params: Params,
    batch: Mapping[str, jax.ShapeDtypeStruct],
) -> dict[str, jax.ShapeDtypeStruct]:
    """Those of batches with what `make` adds to them.

    Args:
      params: their shapes. batch: of the shapes of its arrays.
    """
    folder = config.data.cache_text
    if not folder:
        return dict(batch)
    encode = encoder(config, objective)
    frozen("text", f"data.cache_text={folder!r}", optimizer, params)
    tokens = batch["tokens"]
    one = jax.eval_shape(encode, params, jax.ShapeDtypeStruct((1, 1), tokens.dtype))
    features = jax.ShapeDtypeStruct((*tokens.shape, one.shape[-1]), one.dtype)
    return {**batch, "text_features": features}


def encoder(config: RunConfig, objective: Drawer) -> Callable[[Params, jax.Array], jax.Array]:
    """(parameters, token ids [b, L]) -> features [b, L, E]."""
    if hasattr(objective, "embed_texts"):
        raise UserError(
            f"data.cache_text={config.data.cache_text!r}: is not for two towers; leave it empty"
        )

    def encode(params: Params, tokens: jax.Array) -> jax.Array:
        read = lambda model, tokens: model.text_encoder(tokens)[0]  # noqa: E731
        return objective.apply(params, tokens, method=read)

    return encode


class TextCache(FeatureStore):
    """Adds `text_features` to batches.

    Args:
      encode: token ids int32 [b, L] -> features [b, L, E].
    """

    def __init__(self, folder: Path, name: str, encode: Callable[[np.ndarray], jax.Array]):
        super().__init__(folder, name, "data.cache_text")
        self.encode = encode
        self.one = jax.eval_shape(encode, jax.ShapeDtypeStruct((1, 1), np.int32))

    def __call__(self, batch: Batch) -> Batch:
        """The batch with the features of its `tokens` [b, L] or [b, T, L]; of padding, zeros."""
        shape, (width, dtype) = batch["tokens"].shape, (self.one.shape[-1], self.one.dtype)
        tokens = batch["tokens"].reshape(-1, shape[-1])
        keys = [row[row > 0].tobytes() for row in tokens]

        def compute() -> dict[bytes, bytes]:
            computed = np.asarray(self.encode(tokens))
            return {k: x[row > 0].tobytes() for k, x, row in zip(keys, computed, tokens)}

        found = self.features(keys, compute)
        features = np.zeros((*tokens.shape, width), dtype)
        for row, mask, key in zip(features, tokens > 0, keys):
            row[mask] = np.frombuffer(found[key], dtype).reshape(-1, width)
        return {**batch, "text_features": features.reshape(*shape, width)}
