"""Two towers on the embedded world: search, zero-shot classes, near misses.

vismem train experiments/towers.py
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; there is no argument."""
    if argument:
        raise UserError(f"towers.py:{argument}: there is no argument")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 256
    config.steps = 2_000

    config.data = {
        "source": {
            "name": "world",
            "preset": "tiny",
            "style": "fixed",
            "near_misses": 2,
            "examples": 60_000,
        },
        "size": 32,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 24},
        "cache": 60_000,
    }
    config.vision = {
        "name": "vit",
        "patch": 8,
        "width": 128,
        "layers": 4,
        "heads": 4,
        "hidden": 512,
        "pool": "attention",
    }
    config.text = {"name": "transformer", "width": 128, "layers": 2, "heads": 4}
    config.objective = {"name": "contrastive", "loss": "softmax", "width": 128}
    config.optimizer = {"name": "muon", "lr": 3e-3, "warmup": 100, "weight_decay": 0.01}
    config.ema = 0.998

    config.log_every = 20
    config.checkpoint = {"every": 500, "best": ""}
    config.evaluators = {}
    return config
