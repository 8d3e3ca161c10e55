"""A grid of 8 x 8 tokens for every 32-px picture of the tiny world: what experiments/masked.py
draws. Or 16 x 16 codes of eight numbers for pictures of 256 px, for experiments/latent.py.

    vismem train experiments/autoencoder.py
    vismem train experiments/autoencoder.py:256

What to expect is in experiments/RESULTS.md.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is "" or "256"."""
    if argument not in ("", "256"):
        raise UserError(f"autoencoder.py:{argument}: the argument is nothing or 256")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 64
    config.steps = 2_000
    config.data = {
        "source": {"name": "world", "preset": "tiny", "style": "fixed"},
        "size": 32,
        "tokenizer": {"name": "byte", "length": 8},  # nothing reads the texts
    }
    config.objective = {
        "name": "autoencode",
        "levels": (4, 4, 4, 4),
        "patch": 4,
        "widths": (48,),
        "blocks": 1,
    }
    config.optimizer = {"name": "adamw", "lr": 3e-3, "warmup": 50}
    config.ema = 0.99
    config.log_every = 50
    config.checkpoint = {"every": 1_000, "keep": 1, "best": ""}
    config.evaluators = {"reconstruction": {"name": "reconstruction", "every": 1_000}}
    if argument:
        config.data.size = 256
        config.batch_size = 16  # each has 64 times as many pixels
        config.objective.update(levels=(4,) * 8, patch=8, widths=(32, 64))
    return config
