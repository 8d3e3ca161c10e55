"""SigLIP: both towers, or one of them."""

import dataclasses

import flax.linen as nn

from vismem.models.text.clip import TextTower
from vismem.models.towers import TwoTowers
from vismem.models.vision.vit import ViT
from vismem.pretrained import clip
from vismem.pretrained.family import Config, Tensor, conv, linear, norm
from vismem.pretrained.vit import sizes


def module(config: Config) -> nn.Module:
    match config["architectures"][0]:
        case "SiglipModel":
            return TwoTowers(vision(config), text_tower(config), bias=0.0)
        case "SiglipTextModel":
            return text_tower(config)
        case "SiglipVisionModel":
            return vision(config)


def text_tower(config: Config) -> TextTower:
    config = clip.tower_config(config, "text")
    return TextTower(**clip.text_sizes(config), head=config["projection_size"])


def vision(config: Config) -> ViT:
    config = clip.tower_config(config, "vision")
    pool = "attention" if config["vision_use_head"] else "mean"
    return ViT(**sizes(config), hidden=config["intermediate_size"], pool=pool)


def tensors(config: Config) -> dict[str, Tensor]:
    both = clip.holds(config, "text") and clip.holds(config, "vision")
    found = {name: Tensor(name, ones=1) for name in ("logit_scale", "logit_bias") if both}
    if clip.holds(config, "text"):
        parts = clip.text_tensors(config) | linear("head", "text_model.head")
        found |= clip.nest("text" * both, False, parts, "")
    if clip.holds(config, "vision"):
        parts = clip.vision_tensors(config)
        parts |= conv("embed", "vision_model.embeddings.patch_embedding")
        if clip.tower_config(config, "vision")["vision_use_head"]:
            parts |= pool("pool", "vision_model.head")
        found |= clip.nest("image" * both, False, parts, "")
    return found


def pool(ours: str, theirs: str) -> dict[str, Tensor]:
    found = {f"{ours}/query": Tensor(f"{theirs}.probe", ones=2)}
    for i, part in enumerate(("query", "key", "value")):  # side by side in the file
        source, third = f"{theirs}.attention.in_proj", (0, i, 3)
        found[f"{ours}/attention/{part}/kernel"] = Tensor(f"{source}_weight", (1, 0), third)
        found[f"{ours}/attention/{part}/bias"] = Tensor(f"{source}_bias", part=third)
    return (
        found
        | linear(f"{ours}/attention/out", f"{theirs}.attention.out_proj")
        | norm(f"{ours}/norm", f"{theirs}.layernorm")
        | linear(f"{ours}/mlp/up", f"{theirs}.mlp.fc1")
        | linear(f"{ours}/mlp/down", f"{theirs}.mlp.fc2")
    )


FAMILY = dataclasses.replace(
    clip.FAMILY,
    architectures=("SiglipModel", "SiglipTextModel", "SiglipVisionModel"),
    module=module,
    tensors=tensors,
)
TEXT = dataclasses.replace(FAMILY, canonical=clip.TEXT.canonical)
VISION = dataclasses.replace(FAMILY, canonical=clip.VISION.canonical)
