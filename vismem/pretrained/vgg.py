"""VGG as torchvision stores it: `features.0.weight`, ..., `classifier.6.bias`.

Beside the weights lies a config.json of ours:

    {"model_type": "vgg", "architectures": ["VGGForImageClassification"], "variant": "16"}

"VGGModel" leaves the classifier out. Other shapes: "stages" (channels of the convolutions of each
stage) instead of "variant", "hidden_size" (4096) of the classifier, "num_labels" (1000),
"num_channels" (3).
"""

from typing import Any

import jax.numpy as jnp

from vismem.models.vision.vgg import VGG, VGGClassifier, variant
from vismem.pretrained.family import Config, Family, Tensor, conv, linear
from vismem.pretrained.vit import all_tokens, pictures

CLASSIFIER = "VGGForImageClassification"


def stages(config: Config) -> tuple[tuple[int, ...], ...]:
    if "stages" in config:
        return tuple(map(tuple, config["stages"]))
    return variant(str(config.get("variant")))["stages"]


def module(config: Config) -> VGG | VGGClassifier:
    encoder = VGG(stages(config), norm=False)
    if config["architectures"][0] == CLASSIFIER:
        hidden, labels = config.get("hidden_size", 4096), config.get("num_labels", 1000)
        return VGGClassifier(encoder, hidden, labels)
    return encoder


def tensors(config: Config) -> dict[str, Tensor]:
    found, place = {}, 0
    for i, stage in enumerate(stages(config)):
        for j in range(len(stage)):
            found |= conv(f"stage_{i}_conv_{j}", f"features.{place}")
            place += 2  # the convolution and its activation
        place += 1  # max pooling
    if config["architectures"][0] == CLASSIFIER:
        found = {f"encoder/{name}": tensor for name, tensor in found.items()}
        for i in range(3):  # each with an activation and dropout after it
            found |= linear(f"dense_{i}", f"classifier.{3 * i}")
    return found


def run(module: Any, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    """Of torchvision's classifiers, whose models without one give cells and their mean."""
    found = module.apply({"params": params}, pictures(inputs))
    if isinstance(found, tuple):
        return {"last_hidden_state": all_tokens(found), "pooler_output": found.pooled}
    return {"logits": found}


FAMILY = Family(
    architectures=("VGGModel", CLASSIFIER),
    module=module,
    tensors=tensors,
    example=lambda config: (jnp.zeros((1, 224, 224, config.get("num_channels", 3))),),
    run=run,
    ignored=lambda config: r"(?!)" if config["architectures"][0] == CLASSIFIER else r"classifier\.",
)
