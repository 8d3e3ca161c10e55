"""ResNet as Hugging Face stores it, alone or with a classifier."""

from typing import Any

import jax.numpy as jnp

from vismem.models.vision.classifier import Classifier
from vismem.models.vision.resnet import ResNet
from vismem.pretrained.family import Config, Family, Tensor, conv, linear, norm
from vismem.pretrained.vit import pictures

CLASSIFIER = "ResNetForImageClassification"


def module(config: Config) -> ResNet | Classifier:
    encoder = ResNet(
        config["layer_type"],
        tuple(config["depths"]),
        tuple(config["hidden_sizes"]),
        stem=config["embedding_size"],
        first_stride=2 if config["downsample_in_first_stage"] else 1,
        early=config["downsample_in_bottleneck"],
        activation=config["hidden_act"],
        norm="batch",
    )
    if config["architectures"][0] == CLASSIFIER:
        return Classifier(encoder, len(config["id2label"]))
    return encoder


def tensors(config: Config) -> dict[str, Tensor]:
    found = conv_norm("stem", "embedder.embedder")
    inputs = config["embedding_size"]
    for i, (depth, width) in enumerate(zip(config["depths"], config["hidden_sizes"])):
        halved = i > 0 or config["downsample_in_first_stage"]
        for j in range(depth):
            ours, theirs = f"stage_{i}_block_{j}", f"encoder.stages.{i}.layers.{j}"
            if j == 0 and (halved or width != inputs):
                found |= conv_norm(f"{ours}/shortcut", f"{theirs}.shortcut")
            for k in range(2 if config["layer_type"] == "basic" else 3):
                found |= conv_norm(f"{ours}/conv_{k}", f"{theirs}.layer.{k}")
        inputs = width
    if config["architectures"][0] == CLASSIFIER:
        found = {f"encoder/{name}": tensor for name, tensor in found.items()}
        found |= linear("head", "classifier.1")
    return found


def conv_norm(ours: str, theirs: str) -> dict[str, Tensor]:
    return {
        **conv(f"{ours}/conv", f"{theirs}.convolution", use_bias=False),
        **norm(f"{ours}/norm", f"{theirs}.normalization"),
        f"{ours}/norm/mean": Tensor(f"{theirs}.normalization.running_mean"),
        f"{ours}/norm/variance": Tensor(f"{theirs}.normalization.running_var"),
    }


def run(module: ResNet | Classifier, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    variables, image = {"params": params}, pictures(inputs)
    if isinstance(module, Classifier):
        return {"logits": module.apply(variables, image)}
    x = jnp.transpose(module.apply(variables, image, method="feature_map"), (0, 3, 1, 2))
    return {"last_hidden_state": x, "pooler_output": x.mean((2, 3), keepdims=True)}


FAMILY = Family(
    architectures=("ResNetModel", CLASSIFIER),
    module=module,
    tensors=tensors,
    example=lambda config: (jnp.zeros((1, 64, 64, config["num_channels"])),),
    run=run,
    canonical=lambda name: name.removeprefix("resnet."),
    ignored=lambda config: (
        r".*num_batches_tracked$"
        + ("" if config["architectures"][0] == CLASSIFIER else r"|classifier\.")
    ),
)
