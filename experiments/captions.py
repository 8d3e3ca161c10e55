"""A T5 over a ViT's patches learns to say what pictures of the tiny world show, on two CPU cores.

    pip install -e ".[captions]"      # sacrebleu and pycocoevalcap, for the table
    vismem train experiments/captions.py
    vismem caption runs/captions picture.png

What to expect is in experiments/RESULTS.md.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; there is no argument."""
    if argument:
        raise UserError(f"captions.py:{argument}: there is no argument")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 64
    config.steps = 4_000

    config.data = {
        "source": {"name": "world", "preset": "tiny", "lang": "en", "style": "fixed"},
        "size": 32,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 24},
    }
    config.vision = {
        "name": "vit",
        "patch": 8,
        "width": 128,
        "layers": 4,
        "heads": 4,
        "hidden": 512,
        "pool": "mean",
    }
    config.text = {
        "name": "t5",
        "width": 128,
        "layers": 2,
        "decoder_layers": 2,
        "heads": 4,
        "head_dim": 32,
        "hidden": 512,
        "activation": "gelu",
        "gated": False,
    }
    config.objective = {"name": "caption"}
    config.optimizer = {"name": "muon", "lr": 3e-3, "warmup": 100, "weight_decay": 0.01}
    config.ema = 0.998

    config.log_every = 50
    config.checkpoint = {"every": 1_000, "keep": 2, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 1_000, "count": 512},
        "progress": {"name": "captions", "every": 1_000, "splits": ("val",), "count": 256},
        "captions": {"name": "captions", "every": 0, "count": 1_000},
    }
    return config
