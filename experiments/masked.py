"""Tokens in place of pixels, with the quickstart's data and backbone: the surest first, or row by
row, each given those before it (objectives/raster.py).

    vismem train experiments/autoencoder.py       # first: what the tokens are
    vismem train experiments/masked.py
    vismem train experiments/masked.py:raster

What to expect is in experiments/RESULTS.md.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is "" or "raster"."""
    if argument not in ("", "raster"):
        raise UserError(f"masked.py:{argument}: the argument is nothing or raster")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 32
    config.steps = 8_000

    config.data = {
        "source": {"name": "world", "preset": "tiny", "lang": "en", "style": "fixed"},
        "size": 32,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 24},
    }
    config.text = {"name": "transformer", "width": 128, "layers": 2, "heads": 4}
    config.vision = {"name": "patches"}
    config.fusion = {"name": "attention"}
    # Patches are of 2 x 2 tokens, which are as many pixels as the quickstart's; row by row of one.
    config.painter = {"width": 128, "layers": 4, "heads": 4, "products": "bfloat16"}
    config.painter.patch = 1 if argument else 2
    config.memory = {"enabled": True, "slots": 4, "update": "gated"}

    config.objective = {
        "name": "masked",
        "autoencoder": "runs/autoencoder",
        "order": argument or "random",
        **({} if argument else {"steps": 2, "chains": 0.25}),
    }
    config.optimizer = {"name": "muon", "lr": 3e-3, "warmup": 100, "weight_decay": 0.1}
    config.ema = 0.998
    config.drawing = {
        "steps": 64 if argument else 12,  # row by row as many as there are tokens
        "solver": "reveal_evenly" if argument else "reveal",
        "guidance_scale": 1.75,
    }

    config.log_every = 50
    config.checkpoint = {"every": 2_000, "keep": 2, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 2_000, "count": 512},
        "progress": {"name": "claims", "every": 2_000, "sets": ("val",), "count": 128},
        "grid": {"name": "grid", "every": 2_000},
        "claims": {"name": "claims", "every": 0, "count": 512},
    }
    return config
