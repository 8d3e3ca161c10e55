"""Two towers on the embedded world: search, zero-shot classes, near misses.

    vismem train experiments/towers.py                    # a near miss beside every caption
    vismem train experiments/towers.py:near_misses=off

What came out is in experiments/RESULTS.md.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is "" or "near_misses=off"."""
    if argument not in ("", "near_misses=off"):
        raise UserError(f"towers.py:{argument}: the argument is nothing or near_misses=off")
    mined = not argument
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 128
    config.steps = 1_600

    config.data = {
        "source": {
            "name": "world",
            "preset": "tiny",
            "style": "fixed",
            "near_misses": 1 if mined else 0,
            "examples": 30_000,
        },
        "size": 32,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 20},
        "cache": 30_000,
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
    config.checkpoint = {"every": 800, "best": ""}
    config.evaluators = {
        "progress": {"name": "retrieval", "every": 400, "split": "val"},
        "retrieval": {"name": "retrieval"},
        "zeroshot": {"name": "zeroshot"},
        "compositional": {"name": "zeroshot", "split": "compositional"},
        "near_misses": {"name": "near_misses"},
        "probe": {"name": "probe"},
    }
    return config
