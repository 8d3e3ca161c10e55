"""Which encoder of the canvas X_t to have: quickstart.py:muon with six, two seeds each.

    python -c "from vismem.pretrained.squeezenet import convert; \\
        convert('../shared/data/squeezenet/decoded_squeezenet10_OIHW.npz', 'runs/squeezenet')"
    vismem sweep experiments/image_encoders.py
    vismem table experiments/image_encoders.py
    vismem sweep experiments/image_encoders.py:third      # a third of the steps, one seed

All give one vector a patch of 8 pixels. SqueezeNet has learned from photographs and stays as it is;
the others are trained from nothing with the painter. What was found, and which runs were made, is
in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config of quickstart.py:muon; `argument` is "" or "third", of its steps."""
    if argument not in ("", "third"):
        raise UserError(f"image_encoders.py:{argument}: the argument is nothing or third")
    made = config.load(str(Path(__file__).with_name("quickstart.py:muon")))
    if argument:
        made.steps //= 3
    return made


def sweep(argument: str = "") -> dict:
    encoders = {
        "patches": {"name": "patches"},
        "CNN": {"name": "cnn"},
        "VGG": {"name": "vgg"},
        "ResNet": {"name": "resnet"},
        "ViT": {"name": "vit"},
    }
    # Of pictures of 71 pixels its last map has 4 x 4 cells, one a patch.
    squeezenet = {"name": "pretrained", "folder": "runs/squeezenet", "size": 71}
    frozen = {"vision": squeezenet, "optimizer.freeze": (("vision_encoder/", True),)}
    rows = {row: {"vision": v} for row, v in encoders.items()} | {"SqueezeNet, frozen": frozen}
    return {"rows": rows, "seeds": (0,) if argument else (0, 1)}


def table() -> dict:
    return {
        "test": {"metric": "test/exact_claim", "percent": True},
        "compositional": {"metric": "compositional/exact_claim", "percent": True},
        "parameters": {"metric": "parameters", "digits": 0, "best": "min"},
        "images/s": {"metric": "images_per_second"},
    }
