"""Pretrained models read as the encoders of a run: what models/text/pretrained.py and
models/vision/pretrained.py are built from. `part` is "text" or "vision" throughout.
"""

import dataclasses
import json
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
SCALING = "preprocessor_config.json"


def describe(folder: str, part: str) -> Config:
    """The config of a folder's encoder, completed; its weights are not read.

    An encoder of pictures brings `image_mean` and `image_std` of its preprocessing, a half each
    where the folder has none.

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
    found = {}
    try:
        if (folder / SCALING).exists():
            found = json.loads((folder / SCALING).read_text())
        return {
            key: [float(x) for x in found.get(key) or (0.5, 0.5, 0.5)]
            for key in ("image_mean", "image_std")
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{folder / SCALING}: cannot be read ({error})") from None


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
