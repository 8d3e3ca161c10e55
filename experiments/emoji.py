"""The memory generator on real pictures: emoji from their English names and keywords.

    vismem train experiments/emoji.py:root=FOLDER       # what came out: experiments/RESULTS.md

FOLDER holds `metadata.jsonl` and the pictures it names (Hugging Face's imagefolder convention); in
development it was ../shared/data/emoji, 3,414 pictures, which is also the default.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is "" or "root=FOLDER"."""
    key, _, root = (argument or "root=../shared/data/emoji").partition("=")
    if key != "root" or not root:
        raise UserError(f"emoji.py:{argument}: the argument is root=FOLDER")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 32
    config.steps = 3_000

    config.data = {
        "source": {"name": "folder", "root": root, "keywords": 3, "background": (255, 255, 255)},
        "size": 32,
        "tokenizer": {"name": "bpe", "vocab_size": 2048, "length": 24},
        "augment": {"affine": {"shift": 0.05, "zoom": (0.9, 1.1)}},
        "cache": 4_000,
    }
    config.text = {"name": "transformer", "width": 128, "layers": 2, "heads": 4}
    config.vision = {"name": "patches"}
    config.fusion = {"name": "attention"}
    config.painter = {"width": 128, "layers": 4, "heads": 4, "patch": 8, "products": "bfloat16"}
    config.memory = {"enabled": True, "slots": 4, "update": "gated"}

    config.objective = {"name": "flow", "time_mean": -1.2, "unroll": 2, "remat": False}
    config.optimizer = {"name": "muon", "lr": 3e-3, "warmup": 100, "weight_decay": 0.01}
    config.ema = 0.998
    config.drawing = {"steps": 24, "solver": "renoise", "guidance_scale": 2.0}

    config.log_every = 50
    config.checkpoint = {"every": 1_000, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 1_000, "count": 256, "batch_size": 32},
        "nearest": {"name": "nearest", "every": 0, "count": 64},
    }
    return config
