"""Pretrained models read as the encoders of a run: what models/text/pretrained.py and
models/vision/pretrained.py are built from. `part` is "text" or "vision" throughout.
"""

import dataclasses
import functools
import json
import logging
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from vismem.errors import UserError
from vismem.models import AUTOENCODERS
from vismem.models.text.pretrained import ENCODERS as TEXT
from vismem.models.vision.pretrained import ENCODERS as VISION
from vismem.pretrained import checkpoint
from vismem.pretrained.family import Config

ENCODERS = {"text": TEXT, "vision": VISION}
# config.json's model_type -> the architecture that is such an encoder and no more.
ARCHITECTURES = {
    "text": {
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
    },
    "vision": {
        "clip": "CLIPVisionModel",
        "clip_vision_model": "CLIPVisionModel",
        "dinov2": "Dinov2Model",
        "dinov2_with_registers": "Dinov2WithRegistersModel",
        "inception": "InceptionModel",
        "resnet": "ResNetModel",
        "siglip": "SiglipVisionModel",
        "siglip_vision_model": "SiglipVisionModel",
        "squeezenet": "SqueezeNetModel",
        "vgg": "VGGModel",
        "vit": "ViTModel",
    },
}
# Where a folder has the preprocessing of pictures: a part of its processor's file (transformers 5),
# or a file of its own.
PROCESSOR, SCALING = "processor_config.json", "preprocessor_config.json"
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}

log = logging.getLogger(__name__)


def describe(folder: str, part: str) -> Config:
    """The config of a folder's encoder, completed; its weights are not read.

    An encoder of pictures brings `image_mean` and `image_std` of its preprocessing, a half each,
    with a warning, where the folder has none.

    Raises:
      UserError: the folder holds no such encoder that is known here.
    """
    folder = checkpoint.find(folder)
    kind = checkpoint.read_config(folder)["model_type"]
    known = ARCHITECTURES[part]
    if kind not in known:
        raise UserError(
            f"{part}.folder={str(folder)!r}: a {kind} is no {part} encoder; known: "
            f"{', '.join(known)}"
        )
    config = checkpoint.describe(folder, known[kind])
    return config if part == "text" else scaling(folder) | config


def scaling(folder: Path) -> Config:
    """Mean and deviation of each channel, of pictures in [0, 1]."""
    for name in (PROCESSOR, SCALING):
        file = folder / name
        try:
            found = json.loads(file.read_text()) if file.exists() else {}
            if name == PROCESSOR:
                found = found.get("image_processor")
            if found:
                return {k: [float(x) for x in found.get(k) or HALVES[k]] for k in HALVES}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UserError(f"{file}: cannot be read ({error})") from None
    warn_of_halves(folder)
    return HALVES


@functools.cache  # one line, however often a run describes the folder
def warn_of_halves(folder: Path) -> None:
    log.warning(
        "%s: no preprocessing of pictures in %s or %s; a mean and deviation of 0.5 is assumed",
        folder,
        PROCESSOR,
        SCALING,
    )


def options(config: Config, part: str) -> dict[str, Any]:
    """What the pretrained component of a run is built with: its `encoder` as `{"name": ...,
    **options}` of ENCODERS, and of pictures the scaling.
    """
    made_by, fields = sizes(config)
    name = next(n for n, target in ENCODERS[part].items() if target == made_by)
    found = {"encoder": {"name": name, **fields}}
    if part == "vision":
        found |= {"mean": config["image_mean"], "std": config["image_std"]}
    return found


def autoencoder(folder: str) -> dict[str, Any]:
    """A folder's autoencoder as `{"name": ..., **options}` of AUTOENCODERS; its weights are not
    read."""
    made_by, fields = sizes(checkpoint.describe(folder))
    for name, target in AUTOENCODERS.items():
        if target == made_by:
            return {"name": name, **fields}
    raise UserError(f"objective.autoencoder={folder!r}: holds a model that is no autoencoder")


def sizes(config: Config) -> tuple[str, dict[str, Any]]:
    """The module of a config, as registries name it, and its fields but for the dtype."""
    module = checkpoint.family_of(config).module(config)
    fields = {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.init}
    for given in ("parent", "name", "dtype"):
        del fields[given]
    return f"{type(module).__module__}:{type(module).__qualname__}", fields


def load(folder: str, part: str, mesh: Mesh) -> dict[str, Any]:
    """The encoder's parameters in their shards."""
    architecture = describe(folder, part)["architectures"][0]
    return checkpoint.load(folder, architecture=architecture, mesh=mesh).params
