"""CLIP: both towers, or one of them with or without its projection."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem.models.text.clip import TextTower
from vismem.models.towers import Projected, TwoTowers
from vismem.models.vision.vit import ViT
from vismem.pretrained.family import Config, Family, Tensor, conv, linear, norm
from vismem.pretrained.vit import all_tokens, pictures, sizes, square


def module(config: Config) -> nn.Module:
    match config["architectures"][0]:
        case "CLIPModel":
            image, text = project(config, vision(config)), project(config, text_tower(config))
            return TwoTowers(image, text)
        case "CLIPTextModel":
            return text_tower(config)
        case "CLIPTextModelWithProjection":
            return project(config, text_tower(config))
        case "CLIPVisionModel":
            return vision(config)
        case "CLIPVisionModelWithProjection":
            return project(config, vision(config))


def project(config: Config, encoder: nn.Module) -> Projected:
    return Projected(encoder, config["projection_dim"])


def text_tower(config: Config) -> TextTower:
    config = tower_config(config, "text")
    end = config["eos_token_id"]
    # The first checkpoints name a wrong end token, 2; theirs is the largest id.
    return TextTower(**text_sizes(config), causal=True, end=None if end == 2 else end)


def text_sizes(config: Config) -> dict[str, Any]:
    """Arguments of `TextTower` that the configs of CLIP and SigLIP name alike."""
    return dict(
        vocab_size=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        length=config["max_position_embeddings"],
        activation=config["hidden_act"],
        epsilon=config["layer_norm_eps"],
    )


def vision(config: Config) -> ViT:
    config = tower_config(config, "vision")
    return ViT(
        **sizes(config),
        hidden=config["intermediate_size"],
        norm_input=True,
        norm_tokens=False,
        patch_bias=False,
    )


def tower_config(config: Config, name: str) -> Config:
    """A tower's own part of the config, which may be the whole."""
    return config.get(f"{name}_config", config)


def holds(config: Config, name: str) -> bool:
    """Whether the model has the tower "text" or "vision"."""
    architecture = config["architectures"][0]
    return name.capitalize() in architecture or architecture in ("CLIPModel", "SiglipModel")


def tensors(config: Config) -> dict[str, Tensor]:
    both = holds(config, "text") and holds(config, "vision")
    projected = both or config["architectures"][0].endswith("WithProjection")
    found = {"logit_scale": Tensor("logit_scale")} if both else {}
    if holds(config, "text"):
        found |= nest("text" * both, projected, text_tensors(config), "text_projection")
    if holds(config, "vision"):
        parts = vision_tensors(config) | {
            "class": Tensor("vision_model.embeddings.class_embedding"),
            **conv("embed", "vision_model.embeddings.patch_embedding", use_bias=False),
            **norm("norm_input", "vision_model.pre_layrnorm"),
        }
        found |= nest("image" * both, projected, parts, "visual_projection")
    return found


def nest(
    tower: str, projected: bool, tensors: dict[str, Tensor], projection: str
) -> dict[str, Tensor]:
    """A tower's tensors under the names they have in TwoTowers and Projected."""
    if projected:
        tensors = {f"encoder/{name}": tensor for name, tensor in tensors.items()}
        tensors |= linear("projection", projection, use_bias=False)
    return {f"{tower}/{name}".lstrip("/"): tensor for name, tensor in tensors.items()}


def text_tensors(config: Config) -> dict[str, Tensor]:
    """What CLIP and SigLIP name alike in the text tower."""
    return {
        "embed/embedding": Tensor("text_model.embeddings.token_embedding.weight"),
        "positions": Tensor("text_model.embeddings.position_embedding.weight"),
        **norm("norm", "text_model.final_layer_norm"),
        **blocks("text_model", tower_config(config, "text")["num_hidden_layers"]),
    }


def vision_tensors(config: Config) -> dict[str, Tensor]:
    """What CLIP and SigLIP name alike in the vision tower."""
    return {
        "positions": Tensor("vision_model.embeddings.position_embedding.weight"),
        **norm("norm", "vision_model.post_layernorm"),
        **blocks("vision_model", tower_config(config, "vision")["num_hidden_layers"]),
    }


def blocks(tower: str, layers: int) -> dict[str, Tensor]:
    found = {}
    for i in range(layers):
        ours, theirs = f"blocks/block_{i}", f"{tower}.encoder.layers.{i}"
        for mine, other in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
            found |= linear(f"{ours}/attention/{mine}", f"{theirs}.self_attn.{other}_proj")
        found |= norm(f"{ours}/norm_attention", f"{theirs}.layer_norm1")
        found |= norm(f"{ours}/norm_mlp", f"{theirs}.layer_norm2")
        found |= linear(f"{ours}/mlp/up", f"{theirs}.mlp.fc1")
        found |= linear(f"{ours}/mlp/down", f"{theirs}.mlp.fc2")
    return found


def run(module: nn.Module, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    variables = {"params": params}
    mask = inputs.get("attention_mask")
    mask = None if mask is None else mask > 0
    if not isinstance(module, TwoTowers):
        if "input_ids" in inputs:
            features, embeds = module.apply(variables, inputs["input_ids"], mask), "text_embeds"
        else:
            features, embeds = module.apply(variables, pictures(inputs)), "image_embeds"
        if not isinstance(module, Projected):
            embeds = "pooler_output"
        return {"last_hidden_state": all_tokens(features), embeds: features.pooled}
    images, texts, logits = module.apply(variables, pictures(inputs), inputs["input_ids"], mask)
    return {
        "image_embeds": images.pooled,
        "text_embeds": texts.pooled,
        "logits_per_image": logits,
        "logits_per_text": logits.T,
        "vision_last_hidden_state": all_tokens(images),
        "text_last_hidden_state": texts.tokens,
    }


def example(config: Config) -> tuple[Any, ...]:
    found = []
    if holds(config, "vision"):
        size = square(tower_config(config, "vision"), "image_size")
        channels = tower_config(config, "vision")["num_channels"]
        found.append(jnp.zeros((1, size, size, channels)))
    if holds(config, "text"):
        found.append(jnp.zeros((1, 1), jnp.int32))
    return tuple(found)


def ignored(config: Config) -> str:
    """Index buffers of older files; of both towers' files, all that the one read does not hold."""
    buffers = r".*embeddings\.position_ids$"
    if holds(config, "text") and holds(config, "vision"):
        return buffers
    other = (
        "vision_model|visual_projection" if holds(config, "text") else "text_model|text_projection"
    )
    own = "text_projection|visual_projection"
    return rf"{buffers}|logit_(scale|bias)$|({other}|{own})\."


FAMILY = Family(
    architectures=(
        *("CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection"),
        *("CLIPVisionModel", "CLIPVisionModelWithProjection"),
    ),
    module=module,
    tensors=tensors,
    example=example,
    run=run,
    ignored=ignored,
    masks={
        "last_hidden_state": "attention_mask",
        "text_last_hidden_state": "attention_mask",
    },
)
# A tower by itself is stored with or without the prefix it has beside the other.
TEXT = dataclasses.replace(
    FAMILY, canonical=lambda name: name if name.startswith("text_") else f"text_model.{name}"
)
VISION = dataclasses.replace(
    FAMILY, canonical=lambda name: name if name.startswith("vis") else f"vision_model.{name}"
)
