"""Inception v3 as torchvision and pytorch-fid name its weights: `Conv2d_1a_3x3.conv.weight`, ...,
`Mixed_7c.branch_pool.bn.running_var`, `fc.bias`.

Beside the weights lies a config.json of ours:

    {"model_type": "inception", "architectures": ["InceptionForImageClassification"],
     "variant": "fid", "num_labels": 1008}

"InceptionModel" leaves the classifier out. The variant is "fid" for the weights that pytorch-fid
has of the network of 2015, by which the Frechet distance is called FID, and "torchvision" for those
of torchvision. Other shapes: "width" (32) and "num_channels" (3). `convert` writes all that.
"""

import json
import shutil
from pathlib import Path
from typing import get_args

import jax.numpy as jnp
from safetensors import SafetensorError, safe_open

from vismem.errors import UserError
from vismem.models.vision.classifier import Classifier
from vismem.models.vision.inception import BLOCKS, STEM, InceptionV3, Layer, Variant
from vismem.pretrained.family import Config, Family, Tensor, conv, linear, norm
from vismem.pretrained.vgg import run
from vismem.registry import nearest

CLASSIFIER = "InceptionForImageClassification"
VARIANTS = get_args(Variant)


def module(config: Config) -> InceptionV3 | Classifier:
    variant = config.get("variant")
    if variant not in VARIANTS:
        raise UserError(f"config.json: variant {variant!r}; {nearest(str(variant), VARIANTS)}")
    encoder = InceptionV3(variant, config.get("width", 32))
    if config["architectures"][0] == CLASSIFIER:
        return Classifier(encoder, config.get("num_labels", 1000))
    return encoder


def tensors(config: Config) -> dict[str, Tensor]:
    found = {}
    within = (f"{block}/{layer}" for block in BLOCKS for layer in layers(block))
    for place in (*(layer.name for layer in STEM), *within):
        theirs = place.replace("/", ".")
        found |= conv(f"{place}/conv", f"{theirs}.conv", use_bias=False)
        found |= norm(f"{place}/bn", f"{theirs}.bn")
        found[f"{place}/bn/mean"] = Tensor(f"{theirs}.bn.running_mean")
        found[f"{place}/bn/variance"] = Tensor(f"{theirs}.bn.running_var")
    if config["architectures"][0] == CLASSIFIER:
        found = {f"encoder/{name}": tensor for name, tensor in found.items()}
        found |= linear("head", "fc")
    return found


def layers(block: str) -> list[str]:
    """The names of a block's layers."""
    steps = [step for branch in BLOCKS[block] for step in branch]
    return [x.name for step in steps for x in ((step,) if isinstance(step, Layer) else step)]


FAMILY = Family(
    architectures=("InceptionModel", CLASSIFIER),
    module=module,
    tensors=tensors,
    example=lambda config: (jnp.zeros((1, 299, 299, config.get("num_channels", 3))),),
    run=run,
    ignored=lambda config: (
        r".*num_batches_tracked$|AuxLogits\."
        + ("" if config["architectures"][0] == CLASSIFIER else r"|fc\.")
    ),
)

# What `convert` says of pictures in [0, 1]: (x - 128) / 128 of pictures in 0..255, as clean-fid has
# it (inception_torchscript.py, 0.1.35); and [-1, 1], which torchvision's `transform_input` makes.
SCALING = {"fid": 128 / 255, "torchvision": 0.5}


def convert(weights: str | Path, folder: str | Path, variant: Variant) -> None:
    """Writes a file of the weights as a folder to `load`.

    Args:
      weights: safetensors of torchvision's names. Published are pickles, which are not read; with
        torch, `save_file(torch.load(FILE, weights_only=True), "inception.safetensors")` of
        safetensors.torch makes one of pt_inception-2015-12-05-6726825d.pth.
      folder: made if need be.
      variant: "fid" or "torchvision"; the file does not say.
    """
    if variant not in VARIANTS:
        raise UserError(f"variant={variant!r}: unknown; {nearest(str(variant), VARIANTS)}")
    try:
        with safe_open(weights, "numpy") as file:
            labels = file.get_slice("fc.bias").get_shape()[0]
            width = file.get_slice("Conv2d_1a_3x3.conv.weight").get_shape()[0]
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: no safetensors of an Inception v3 ({error})") from None
    config = {
        "model_type": "inception",
        "architectures": [CLASSIFIER],
        "variant": variant,
        "width": width,
        "num_labels": labels,
    }
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"height": 299, "width": 299},
        "do_center_crop": False,
        "resample": 3,
        "image_mean": [SCALING[variant]] * 3,
        "image_std": [SCALING[variant]] * 3,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
