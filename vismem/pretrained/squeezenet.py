"""SqueezeNet as torchvision stores it: `features.0.weight`, ..., `classifier.1.bias`.

Beside the weights lies a config.json of ours:

    {"model_type": "squeezenet", "architectures": ["SqueezeNetForImageClassification"],
     "version": "1.1"}

"SqueezeNetModel" leaves the classifier out. Other shapes: "squeeze" (channels that the fire modules
squeeze to), "num_labels" (1000), "num_channels" (3), "head_padding" (0, or 1 in weights of the
authors' Caffe model).
"""


import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.vision.squeezenet import SQUEEZE, VERSIONS, SqueezeNet, SqueezeNetClassifier
from vismem.pretrained.family import Config, Family, Tensor, conv
from vismem.pretrained.vgg import run
from vismem.registry import nearest

CLASSIFIER = "SqueezeNetForImageClassification"


def module(config: Config) -> SqueezeNet | SqueezeNetClassifier:
    version = config.get("version")
    if version not in VERSIONS:
        raise UserError(f"config.json: version {version!r}; {nearest(str(version), VERSIONS)}")
    encoder = SqueezeNet(version, tuple(config.get("squeeze", SQUEEZE)))
    if config["architectures"][0] == CLASSIFIER:
        labels, padding = config.get("num_labels", 1000), config.get("head_padding", 0)
        return SqueezeNetClassifier(encoder, labels, padding)
    return encoder


def tensors(config: Config) -> dict[str, Tensor]:
    found, place = conv("stem", "features.0"), 2  # the convolution and its activation
    for i in range(len(config.get("squeeze", SQUEEZE))):
        place += i in VERSIONS[config["version"]][2]  # max pooling
        found |= conv(f"fire_{i}/squeeze", f"features.{place}.squeeze")
        for kernel in (1, 3):
            source = f"features.{place}.expand{kernel}x{kernel}"
            found |= conv(f"fire_{i}/expand_{kernel}", source)
        place += 1
    if config["architectures"][0] == CLASSIFIER:
        found = {f"encoder/{name}": tensor for name, tensor in found.items()}
        found |= conv("head", "classifier.1")
    return found


FAMILY = Family(
    architectures=("SqueezeNetModel", CLASSIFIER),
    module=module,
    tensors=tensors,
    example=lambda config: (jnp.zeros((1, 224, 224, config.get("num_channels", 3))),),
    run=run,
    ignored=lambda config: r"(?!)" if config["architectures"][0] == CLASSIFIER else r"classifier\.",
)
