"""Encoders that begin with what others have learned: a run reads their files once, as it begins.

In every model the text encoder's parameters are named "PLAYER/text_encoder/...", those of a
pretrained picture encoder ".../vision_encoder/...", and those of a T5 ".../text_model/...".
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh

from vismem import config as configs
from vismem.config import RunConfig, plain
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.models import TEXT_TO_TEXT
from vismem.models.text import vectors
from vismem.parallel import hosts
from vismem.pretrained import checkpoint, encoders
from vismem.pretrained.family import Config
from vismem.training import lora
from vismem.training.logging import write_whole
from vismem.training.names import Flat, names
from vismem.training.state import Layout

# Of each part of a model that may be pretrained: where its parameters are, and the file in the
# run's folder that keeps its config.
PLACES = {"text": "/text_encoder/", "vision": "/vision_encoder/"}
FILES = {"text": "text_encoder.json", "vision": "vision_encoder.json"}
AUTOENCODER, T5 = "autoencoder.json", "t5.json"
T5_PLACE = "/text_model/"


def pretrained_folder(config: RunConfig, part: str) -> str | None:
    """Where the pretrained encoder of a part of the model is read from, if the config has one."""
    choice = getattr(config, part)
    if choice.get("name") != "pretrained":
        return None
    return as_folder(choice.get("folder"), f"{part}.folder")


def t5_folder(config: RunConfig) -> str | None:
    """Where the T5 that writes a run's texts is read from, if the config has it begin with one."""
    if config.text.get("name") != "t5" or config.text.get("folder") is None:
        return None
    return as_folder(config.text["folder"], "text.folder")


def autoencoder_folder(config: RunConfig) -> str | None:
    """Where the autoencoder on whose grid a run draws is read from, if the config has one: its
    `objective.autoencoder` is a folder, or says of one what is in it."""
    choice = config.objective.get("autoencoder")
    if isinstance(choice, Mapping):
        return as_folder(choice.get("folder"), "objective.autoencoder.folder")
    return choice if choice is None else as_folder(choice, "objective.autoencoder")


def as_folder(value: Any, key: str) -> str:
    """The folder that a config names."""
    if not isinstance(value, str):
        raise UserError(f"{key}={value!r}: must name a folder")
    return value


def resolve(config: RunConfig, tokenizer: Tokenizer, folder: Path) -> RunConfig:
    """The config with pretrained encoders spelled out, as the run's folder keeps them."""
    for part, file in FILES.items():
        source, saved = pretrained_folder(config, part), folder / file
        if source is None:
            continue
        hosts.on_first(_keep, saved, encoders.describe, source, part)
        found = plain(encoders.options(json.loads(saved.read_text()), part))
        if part == "text":
            found["offset"] = getattr(tokenizer, "offset", 0)
        config = dataclasses.replace(config, **{part: {**getattr(config, part), **found}})
    if source := t5_folder(config):
        hosts.on_first(_keep, folder / T5, checkpoint.describe, source)
        sizes = t5_options(source, json.loads((folder / T5).read_text()))
        config = dataclasses.replace(config, text={**config.text, **sizes})
    if source := autoencoder_folder(config):
        saved = folder / AUTOENCODER
        hosts.on_first(_keep, saved, codec_options, source)
        described = plain(json.loads(saved.read_text())) | {"folder": source}
        choice = config.objective | {"autoencoder": described}
        config = dataclasses.replace(config, objective=choice)
    return config


def _keep(file: Path, describe: Callable[..., Config], *source: str) -> None:
    """Writes what is to be known of another model into the run's folder, once."""
    if not file.exists():
        write_whole(file, json.dumps(describe(*source), indent=2) + "\n")


def t5_options(source: str, described: Config) -> dict[str, Any]:
    """Options of a T5 in the folder `source`, from the config of what is in it."""
    made_by, sizes = encoders.sizes(described)
    if made_by != TEXT_TO_TEXT["t5"]:
        raise UserError(f"text.folder={source!r}: holds no whole T5, with encoder and decoder")
    return plain(sizes)


def codec_options(source: str) -> dict[str, Any]:
    """Options of `objectives.autoencode.make_codec`, from the folder of a run or of a pretrained
    autoencoder; no weights are read."""
    if not Path(source).is_dir():
        return {"folder": source, **encoders.autoencoder(source)}
    found = configs.read(source)
    if "objective" not in found:  # no run's config, but a model's
        return {"folder": source, **encoders.autoencoder(source)}
    choice = found.objective.to_dict()
    if choice.pop("name") != "autoencode":
        raise UserError(f"objective.autoencoder={source!r}: not a run of the objective autoencode")
    return {"folder": source, **choice}


def parameters(config: RunConfig, tokenizer: Tokenizer, layout: Layout, mesh: Mesh) -> Flat:
    """The parameters that files give, by name, in their shards.

    Args:
      config: as `resolve` gives it.

    Raises:
      UserError: the files hold another model than they did when the run's folder was made.
    """
    shapes = names(layout.shapes["params"])
    given = {}
    for part, place in PLACES.items():
        if source := pretrained_folder(config, part):
            loaded = names(encoders.load(source, part, mesh))
            given |= placed({f"module/{n}": x for n, x in loaded.items()}, place, shapes, source)
            found = encoders.options(encoders.describe(source, part), part)
            check_same(source, getattr(config, part), found)
        elif part == "text" and config.text.get("name") == "vectors" and config.text.get("file"):
            found = word_vectors(config, tokenizer, shapes)
            given |= placed(found, place, shapes, config.text["file"])
    if source := t5_folder(config):
        loaded = names(checkpoint.load(source, mesh=mesh).params)
        given |= placed(loaded, T5_PLACE, shapes, source)
        check_same(source, config.text, t5_options(source, checkpoint.describe(source)))
    return given


def check_same(source: str, kept: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuses to read from `source` a model of other options than those that a run has kept: shapes
    do not show all of them."""
    kept, found = (flatten_dict(plain(options), sep=".") for options in (kept, found))
    for option, value in found.items():
        if kept.get(option) != value:
            raise UserError(
                f"{source}: has {option}={value!r}, but had {kept.get(option)!r} when this run's "
                "folder was made; delete that folder to begin anew"
            )


def placed(found: Flat, place: str, shapes: Flat, source: str) -> Flat:
    """Parameters that are named as a part of a model names them, as the whole model does: all that
    the part has but adapters.

    Raises:
      UserError: one is not there, or has another shape.
    """
    tails = {name: name.partition(place)[2] for name in shapes if place in name}
    wanted = {name: tail for name, tail in tails.items() if not tail.endswith((lora.A, lora.B))}
    for name, tail in wanted.items():
        if tail not in found or found[tail].shape != shapes[name].shape:
            raise UserError(
                f"{source}: holds no {tail} of shape {list(shapes[name].shape)}, as it did when "
                "this run's folder was made; delete that folder to begin anew"
            )
    return {name: found[tail] for name, tail in wanted.items()}


def word_vectors(config: RunConfig, tokenizer: Tokenizer, shapes: Flat) -> Flat:
    """The table of `models.text.vectors` from a file."""
    table = "embed/embedding"
    # A gan's players have a table each, of one shape.
    shape = next(x for name, x in shapes.items() if name.endswith(PLACES["text"] + table))
    ids, rows = vectors.read(config.text["file"], shape.shape[1], tokenizer.words())
    # Words that the file does not have become as long as those it has.
    values = np.random.default_rng(config.seed).normal(0, rows.std(), shape.shape)
    values[ids] = rows
    return {table: jax.device_put(values.astype(np.float32), shape.sharding)}
