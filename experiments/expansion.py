"""Vague requests to full descriptions of scenes of the tiny world.

    vismem train experiments/expansion.py
    vismem draw runs/quickstart "something blue" --expand

What to expect is in experiments/RESULTS.md.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is the language, "" (English), "zh" or "mixed"."""
    if argument not in ("", "zh", "mixed"):
        raise UserError(f"expansion.py:{argument}: the argument is nothing, zh or mixed")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 64
    # Both languages are twice as many pairs; with as many steps for half as many of each, they had
    # not been learnt to the end.
    config.steps = 12_000 if argument == "mixed" else 6_000
    config.data = {
        "source": {"name": "expansions", "preset": "tiny", "lang": argument or "en"},
        "size": 32,  # nothing looks at the pictures
        # One Chinese description in five has more than 24 pieces, and some requests more than 32.
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 40 if argument else 24},
    }
    config.text = {
        "name": "t5",
        "width": 128,
        "layers": 3,
        "decoder_layers": 3,
        "heads": 4,
        "head_dim": 32,
        "hidden": 256,
    }
    config.objective = {"name": "expand"}
    config.optimizer = {
        "name": "muon",
        "lr": 3e-3,
        "warmup": 100,
        # T5 does not divide its attention's logits by sqrt(head_dim): its queries begin smaller by
        # as much, and so must their steps be.
        "lr_factors": (("/query/kernel", config.text.head_dim**-0.5),),
    }
    config.ema = 0.998
    config.log_every = 50
    config.checkpoint = {"every": 1_500, "keep": 1, "best": ""}
    config.evaluators = {"expansions": {"name": "expansions", "every": 1_500}}
    return config
