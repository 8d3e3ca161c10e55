"""Pretrained models read as text encoders: what models/text/pretrained.py is built from."""

import dataclasses
from typing import Any

from jax.sharding import Mesh

from vismem.errors import UserError
from vismem.models.text.pretrained import ENCODERS
from vismem.pretrained import checkpoint
from vismem.pretrained.family import Config

# config.json's model_type -> the architecture that is a text encoder and no more.
ARCHITECTURES = {
    "bert": "BertModel",
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "gpt2": "GPT2Model",
    "llama": "LlamaModel",
    "mistral": "MistralModel",
    "mt5": "MT5EncoderModel",
    "qwen2": "Qwen2Model",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "t5": "T5EncoderModel",
}


def describe(folder: str) -> Config:
    """The config of a folder's text encoder, completed; its weights are not read.

    Raises:
      UserError: the folder holds no text encoder that is known here.
    """
    folder = checkpoint.find(folder)
    kind = checkpoint.read_config(folder)["model_type"]
    if kind not in ARCHITECTURES:
        raise UserError(
            f"text.folder={str(folder)!r}: a {kind} is no text encoder; known: "
            f"{', '.join(ARCHITECTURES)}"
        )
    return checkpoint.describe(folder, ARCHITECTURES[kind])


def encoder(config: Config) -> dict[str, Any]:
    """The module of a config as `{"name": ..., **options}` of ENCODERS."""
    module = checkpoint.family_of(config).module(config)
    made_by = f"{type(module).__module__}:{type(module).__qualname__}"
    options = {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.init}
    for given in ("parent", "name", "dtype"):
        del options[given]
    return {"name": next(n for n, target in ENCODERS.items() if target == made_by), **options}


def load(folder: str, mesh: Mesh) -> dict[str, Any]:
    """The encoder's parameters in their shards."""
    architecture = describe(folder)["architectures"][0]
    return checkpoint.load(folder, architecture=architecture, mesh=mesh).params
