"""Encoders that begin with what others have learned: a run reads their files once, as it begins.

In every model the text encoder's parameters are named "PLAYER/text_encoder/...".
"""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from vismem.config import RunConfig, plain
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.models.text import vectors
from vismem.pretrained import text
from vismem.training.logging import write_whole
from vismem.training.names import Flat, names
from vismem.training.state import Layout

FILE = "text_encoder.json"  # the pretrained encoder's config, in the run's folder
PLACE = "/text_encoder/"


def pretrained_folder(config: RunConfig) -> str | None:
    """Where the pretrained text encoder is read from, if the config has one."""
    if config.text.get("name") != "pretrained":
        return None
    if not isinstance(config.text.get("folder"), str):
        raise UserError("text.folder: missing; text.name=pretrained reads an encoder from a folder")
    return config.text["folder"]


def resolve(config: RunConfig, tokenizer: Tokenizer, folder: Path) -> RunConfig:
    """The config with a pretrained text encoder spelled out, as the run's folder keeps it."""
    source, saved = pretrained_folder(config), folder / FILE
    if source is None:
        return config
    if not saved.exists():
        write_whole(saved, json.dumps(text.describe(source), indent=2) + "\n")
    encoder = plain(text.encoder(json.loads(saved.read_text())))
    found = {"encoder": encoder, "offset": getattr(tokenizer, "offset", 0)}
    return dataclasses.replace(config, text={**config.text, **found})


def parameters(config: RunConfig, tokenizer: Tokenizer, layout: Layout, mesh: Mesh) -> Flat:
    """The parameters that files give, by name, in their shards."""
    shapes = {n: x for n, x in names(layout.shapes["params"]).items() if PLACE in n}
    match config.text:
        case {"name": "pretrained", "folder": folder}:
            found = {f"module/{n}": x for n, x in names(text.load(folder, mesh)).items()}
        case {"name": "vectors", "file": str(file)} if file:
            table = "embed/embedding"
            [shape] = [x for n, x in shapes.items() if n.endswith(PLACE + table)]
            ids, rows = vectors.read(file, shape.shape[1], tokenizer.words())
            # Words that the file does not have become as long as those it has.
            values = np.random.default_rng(config.seed).normal(0, rows.std(), shape.shape)
            values[ids] = rows
            found = {table: jax.device_put(values.astype(np.float32), shape.sharding)}
        case _:
            return {}
    tails = {n: n.partition(PLACE)[2] for n in shapes}
    return {n: found[tail] for n, tail in tails.items() if tail in found}
