"""ViT as Hugging Face stores it, alone or with a classifier."""

from typing import Any

import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.features import Features
from vismem.models.layers import Array
from vismem.models.vision.classifier import Classifier
from vismem.models.vision.vit import ViT
from vismem.pretrained.family import Config, Family, Tensor, conv, linear, norm

CLASSIFIER = "ViTForImageClassification"


def module(config: Config) -> ViT | Classifier:
    encoder = ViT(
        **sizes(config),
        hidden=config["intermediate_size"],
        qkv_bias=config["qkv_bias"],
        pooler=(config["pooler_act"], config["pooler_output_size"]) if config["pooler"] else None,
    )
    if config["architectures"][0] == CLASSIFIER:
        return Classifier(encoder, len(config["id2label"]))
    return encoder


def sizes(config: Config) -> dict[str, Any]:
    """Arguments of `ViT` that the configs of all families name alike."""
    return dict(
        patch=square(config, "patch_size"),
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        size=square(config, "image_size"),
        activation=config["hidden_act"],
        epsilon=config["layer_norm_eps"],
    )


def square(config: Config, key: str) -> int:
    """A side in pixels, which some configs give as a pair."""
    side = config[key]
    if isinstance(side, int):
        return side
    if len(set(side)) != 1:
        raise UserError(f"config.json: {key}={side}: only squares are read")
    return side[0]


def tensors(config: Config) -> dict[str, Tensor]:
    found = embeddings() | norm("norm", "layernorm")
    for i in range(config["num_hidden_layers"]):
        ours, theirs = f"blocks/block_{i}", f"encoder.layer.{i}"
        found |= attention(ours, theirs, config["qkv_bias"])
        found |= norm(f"{ours}/norm_attention", f"{theirs}.layernorm_before")
        found |= norm(f"{ours}/norm_mlp", f"{theirs}.layernorm_after")
        found |= linear(f"{ours}/mlp/up", f"{theirs}.intermediate.dense")
        found |= linear(f"{ours}/mlp/down", f"{theirs}.output.dense")
    if config["pooler"]:
        found |= linear("pooler", "pooler.dense")
    if config["architectures"][0] == CLASSIFIER:
        found = {f"encoder/{name}": tensor for name, tensor in found.items()}
        found |= linear("head", "classifier")
    return found


def embeddings() -> dict[str, Tensor]:
    """What ViT and DINOv2 name alike before the blocks."""
    return {
        "class": Tensor("embeddings.cls_token", ones=2),
        "positions": Tensor("embeddings.position_embeddings", ones=1),
        **conv("embed", "embeddings.patch_embeddings.projection"),
    }


def attention(ours: str, theirs: str, qkv_bias: bool) -> dict[str, Tensor]:
    """What ViT and DINOv2 name alike in a block."""
    found = linear(f"{ours}/attention/out", f"{theirs}.attention.output.dense")
    for part in ("query", "key", "value"):
        source = f"{theirs}.attention.attention.{part}"
        found |= linear(f"{ours}/attention/{part}", source, qkv_bias)
    return found


def run(module: ViT | Classifier, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    found = module.apply({"params": params}, pictures(inputs))
    if isinstance(module, Classifier):
        return {"logits": found}
    outputs = {"last_hidden_state": all_tokens(found)}
    return outputs | ({"pooler_output": found.pooled} if module.pooler else {})


def pictures(inputs: Any) -> Array:
    """Pictures [B, H, W, C] from transformers' [B, C, H, W]."""
    return jnp.transpose(inputs["pixel_values"], (0, 2, 3, 1))


def all_tokens(features: Features) -> Array:
    """Class and register tokens and patches, in transformers' order."""
    return jnp.concatenate([features.extra, features.tokens], axis=1)


def example(config: Config) -> tuple[Array]:
    size = square(config, "image_size")
    return (jnp.zeros((1, size, size, config["num_channels"])),)


FAMILY = Family(
    architectures=("ViTModel", CLASSIFIER),
    module=module,
    tensors=tensors,
    example=example,
    run=run,
    canonical=lambda name: name.removeprefix("vit."),
    ignored=lambda config: (
        r"embeddings\.mask_token"
        + ("" if config["architectures"][0] == CLASSIFIER else r"|classifier\.")
    ),
    settle=lambda config, names: config | {"pooler": "pooler.dense.weight" in names},
)
