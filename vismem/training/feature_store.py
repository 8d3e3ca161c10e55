"""What a frozen encoder finds, computed once and kept on disk: a file an encoder.

A file is named by a hash of the encoder's config, weights and code. Runs that share the folder
share what they have computed.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from jax.experimental import multihost_utils

import vismem
from vismem.errors import UserError
from vismem.objectives.base import Params
from vismem.training.encoders import PLACES
from vismem.training.names import Flat, names
from vismem.training.optimizer import Optimizer
from vismem.training.state import State


class FeatureStore:
    """Bytes by bytes in an sqlite file; what is missing is computed and written.

    Hosts may share the file system: there is no write-ahead log, for which they would have to share
    memory.

    Args:
      folder: of the file; made if need be. name: of the file.
      option: the config key of the folder, for error lines.
    """

    def __init__(self, folder: Path, name: str, option: str):
        self.path, self.option = folder / f"{name}.sqlite", option
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.store = sqlite3.connect(self.path, timeout=60)
            self.store.execute("pragma synchronous = normal")
            self.store.execute("create table if not exists features (key blob primary key, x blob)")
        except (OSError, sqlite3.Error) as error:
            raise self.failure(error) from error

    def features(
        self, keys: list[bytes], compute: Callable[[], Mapping[bytes, bytes]]
    ) -> dict[bytes, bytes]:
        """The features of each key; `compute` gives those of all, if any is missing."""
        try:
            found = self.read(set(keys))
            if missing := set(keys) - found.keys():
                rows = compute()
                self.write({k: rows[k] for k in missing})
                found |= rows
        except sqlite3.Error as error:
            raise self.failure(error) from error
        return found

    def read(self, keys: set[bytes]) -> dict[bytes, bytes]:
        marks = ", ".join("?" * len(keys))
        query = f"select key, x from features where key in ({marks})"
        return dict(self.store.execute(query, list(keys)))

    def write(self, rows: Mapping[bytes, bytes]) -> None:
        with self.store:  # all or none
            self.store.executemany("insert or ignore into features values (?, ?)", rows.items())

    def failure(self, error: Exception) -> UserError:
        return UserError(
            f"{self.option}: {self.path} cannot be used ({error}); make room, delete it, or name "
            "another folder"
        )


def frozen_weights(part: str, option: str, optimizer: Optimizer, state: State) -> Flat:
    """Parameters of the model's frozen "text" or "vision" encoder, whole on this host.

    Args:
      option: the config key that asks for them, for error lines.
    """
    encoder = frozen(part, option, optimizer, state["params"])
    # Each host has the whole for itself, as each lacks other features; steps consume the state's.
    return jax.tree.map(np.array, multihost_utils.process_allgather(encoder, tiled=True))


def frozen(part: str, option: str, optimizer: Optimizer, params: Params) -> Flat:
    """Those of them, or their shapes, that `params` has: all that belong to the encoder.

    Raises:
      UserError: there are several such encoders, or it learns.
    """
    encoder = {n: p for n, p in names(params).items() if PLACES[part] in n}
    players = {name.partition("/")[0] for name in encoder}
    if len(players) != 1:
        raise UserError(f"{option}: needs one {part} encoder, not {len(players)}")
    if learning := sorted(encoder.keys() - optimizer.frozen):
        place = PLACES[part].lstrip("/")
        raise UserError(
            f"{option}: the {part} encoder learns ({learning[0]}); freeze it with "
            f"optimizer.freeze=(('{place}', True),)"
        )
    return encoder


def as_params(weights: Flat) -> Any:
    """{player: tree} on one device of this host."""
    return jax.device_put(unflatten_dict(weights, sep="/"), jax.local_devices()[0])


def sources(package: Path) -> bytes:
    """A hash of the code by which an encoder reads: features of other code are others."""
    found = hashlib.sha256()
    for room in ("models", "objectives", "pretrained"):
        for file in sorted((package / room).rglob("*.py")):
            found.update(f"{file.relative_to(package)} ".encode() + file.read_bytes())
    return found.digest()


def fingerprint(described: Any, weights: Flat) -> str:
    """A hash of all that decides an encoder's features but its input and the libraries.

    Args:
      described: what of the config decides them, as JSON holds it.
    """
    found = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    found.update(sources(Path(vismem.__file__).parent))
    for name, x in sorted(weights.items()):
        found.update(f"{name} {x.dtype} {x.shape}".encode())
        found.update(np.ascontiguousarray(x).view(np.uint8))
    return found.hexdigest()[:32]
