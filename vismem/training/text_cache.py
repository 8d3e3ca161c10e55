"""Features of a frozen text encoder, computed once for each text and kept on disk.

A file holds the features of one encoder and is named by a hash of its config and weights. A text is
found in it by its token ids: they are all of tokenizer and text that the encoder sees. Runs that
share the folder share what they have computed.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from jax.experimental import multihost_utils

from vismem.config import RunConfig
from vismem.errors import UserError
from vismem.objectives.base import Drawer
from vismem.training.encoders import PLACES
from vismem.training.names import Flat, names
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
    encoder = {n: p for n, p in names(state["params"]).items() if PLACES["text"] in n}
    players = {name.partition("/")[0] for name in encoder}
    if len(players) != 1:
        raise UserError(f"data.cache_text={folder!r}: needs one text encoder, not {len(players)}")
    if learning := sorted(encoder.keys() - optimizer.frozen):
        raise UserError(
            f"data.cache_text={folder!r}: the text encoder learns ({learning[0]}); freeze it with "
            "optimizer.freeze=(('text_encoder/', True),)"
        )
    # Each host has the whole for itself, since each lacks other texts; steps consume the state's.
    gathered = multihost_utils.process_allgather(encoder, tiled=True)
    weights = jax.tree.map(np.array, gathered)
    params = jax.device_put(unflatten_dict(weights, sep="/"), jax.local_devices()[0])

    @jax.jit
    def encode(params, tokens):
        read = lambda model, tokens: model.text_encoder(tokens)[0]  # noqa: E731
        return objective.apply(params, tokens, method=read)

    return TextCache(Path(folder), fingerprint(config, weights), partial(encode, params))


def fingerprint(config: RunConfig, weights: Flat) -> str:
    """A hash of all that decides an encoder's features but the tokens."""
    text = {k: v for k, v in config.text.items() if k not in ("folder", "file")}
    found = hashlib.sha256(json.dumps([text, config.painter.dtype], sort_keys=True).encode())
    for name, x in sorted(weights.items()):
        found.update(f"{name} {x.dtype} {x.shape}".encode())
        found.update(np.ascontiguousarray(x).view(np.uint8))
    return found.hexdigest()[:32]


class TextCache:
    """Adds `text_features` to batches; what is not in the file yet is computed and written.

    Args:
      encode: token ids int32 [b, L] -> features [b, L, E].
    """

    def __init__(self, folder: Path, name: str, encode: Callable[[np.ndarray], jax.Array]):
        self.encode, self.path = encode, folder / f"{name}.sqlite"
        self.one = jax.eval_shape(encode, jax.ShapeDtypeStruct((1, 1), np.int32))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.store = sqlite3.connect(self.path, timeout=60)
            self.store.execute("pragma journal_mode = wal")  # some may read while one writes
            self.store.execute("pragma synchronous = normal")
            self.store.execute("create table if not exists texts (tokens blob primary key, x blob)")
        except (OSError, sqlite3.Error) as error:
            raise self.failure(error) from error

    def __call__(self, batch: Batch) -> Batch:
        """The batch with the features of its `tokens` [b, L] or [b, T, L]; of padding, zeros."""
        shape, (width, dtype) = batch["tokens"].shape, (self.one.shape[-1], self.one.dtype)
        tokens = batch["tokens"].reshape(-1, shape[-1])
        keys = [row[row > 0].tobytes() for row in tokens]
        try:
            found = self.read(set(keys))
            if missing := set(keys) - found.keys():
                computed = np.asarray(self.encode(tokens))
                rows = {k: x[row > 0].tobytes() for k, x, row in zip(keys, computed, tokens)}
                self.write({k: rows[k] for k in missing})
                found |= rows
        except sqlite3.Error as error:
            raise self.failure(error) from error
        features = np.zeros((*tokens.shape, width), dtype)
        for row, mask, key in zip(features, tokens > 0, keys):
            row[mask] = np.frombuffer(found[key], dtype).reshape(-1, width)
        return {**batch, "text_features": features.reshape(*shape, width)}

    def read(self, keys: set[bytes]) -> dict[bytes, bytes]:
        marks = ", ".join("?" * len(keys))
        query = f"select tokens, x from texts where tokens in ({marks})"
        return dict(self.store.execute(query, list(keys)))

    def write(self, rows: Mapping[bytes, bytes]) -> None:
        with self.store:  # all or none
            self.store.executemany("insert or ignore into texts values (?, ?)", rows.items())

    def failure(self, error: Exception) -> UserError:
        return UserError(
            f"data.cache_text: {self.path} cannot be used ({error}); make room, delete it, or name "
            "another folder"
        )
