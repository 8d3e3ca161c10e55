"""SqueezeNet as torchvision stores it: `features.0.weight`, ..., `classifier.1.bias`.

Beside the weights lies a config.json of ours:

    {"model_type": "squeezenet", "architectures": ["SqueezeNetForImageClassification"],
     "version": "1.1"}

"SqueezeNetModel" leaves the classifier out. Other shapes: "squeeze" (channels that the fire modules
squeeze to), "num_labels" (1000), "num_channels" (3), "head_padding" (0, or 1 in weights of the
authors' Caffe model).
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

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

# What `convert` writes.
FIRES = (3, 4, 5, 7, 8, 9, 10, 12)  # places of the fire modules in torchvision's list
CONVERTED = {
    "model_type": "squeezenet",
    "architectures": [CLASSIFIER],
    "version": "1.0",
    "head_padding": 1,
}
PREPROCESSING = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 227, "width": 227},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def convert(weights: str | Path, folder: str | Path) -> None:
    """Writes the authors' version 1.0, decoded from their Caffe file, as a folder to `load`.

    Their model takes BGR in 0..255 less a mean; the first convolution has no padding, so that its
    kernel and bias can take that over: the folder's takes RGB in [-1, 1].

    Args:
      weights: an .npz of conv1/w (OIHW), conv1/b, fire2/squeeze1x1/w, ..., conv10/b.
      folder: made if need be.
    """
    with np.load(weights, allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    kernel, mean = stored["conv1/w"], np.array([104.0, 117.0, 123.0])
    stored["conv1/b"] = stored["conv1/b"] + np.einsum("oihw,i->o", kernel, 127.5 - mean)
    stored["conv1/w"] = 127.5 * kernel[:, ::-1]
    modules = {"conv1": "features.0", "conv10": "classifier.1"}
    for i, place in enumerate(FIRES, 2):
        modules[f"fire{i}/squeeze1x1"] = f"features.{place}.squeeze"
        for part in ("expand1x1", "expand3x3"):
            modules[f"fire{i}/{part}"] = f"features.{place}.{part}"
    tensors = {
        f"{ours}.{name}": np.ascontiguousarray(stored[f"{theirs}/{letter}"], np.float32)
        for theirs, ours in modules.items()
        for letter, name in (("w", "weight"), ("b", "bias"))
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONVERTED))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
