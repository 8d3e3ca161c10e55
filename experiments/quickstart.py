"""The memory generator learns to draw captions of the tiny world, on two CPU cores.

    vismem train experiments/quickstart.py
    vismem train experiments/quickstart.py:memory=off     # the ablation: no memory, no strategy
    vismem train experiments/quickstart.py:wide           # twice as long, more of the peak
    vismem train experiments/quickstart.py:muon           # slower: what other tables change

What to expect is in experiments/RESULTS.md.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is "", "memory=off", "wide" or "muon"."""
    if argument not in ("", "memory=off", "wide", "muon"):
        raise UserError(
            f"quickstart.py:{argument}: the argument is nothing, memory=off, wide or muon"
        )
    memory = argument != "memory=off"
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 64
    # About as many seconds either way: a step without memory takes 0.80 of one with it on two
    # cores.
    config.steps = 1_560 if memory else 2_100

    # Where both cores are busy, making a batch of new pictures takes a tenth of a step's time. Four
    # passes over these, kept, taught as much as one over four times as many; these are three, more
    # without memory or where it is wide. Those of the first are drawn while the step compiles.
    pictures = 32_000 if argument == "wide" else 28_000
    config.data = {
        "source": {
            "name": "world",
            "preset": "tiny",
            "lang": "en",
            "style": "fixed",
            "examples": pictures,
        },
        "cache": pictures,
        "prefetch": pictures // config.batch_size,
        "size": 32,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 24},
        "pad_to": 18,  # the longest of these captions; vague ones and three things have more
    }
    config.text = {"name": "transformer", "width": 128, "layers": 2, "heads": 4}
    config.vision = {"name": "patches"}
    config.fusion = {"name": "attention"}
    config.painter = {
        "width": 128,
        "layers": 4,
        "heads": 4,
        "patch": 8,
        "palette": 4,
        "products": "bfloat16",
    }
    config.memory = {"enabled": memory, "slots": 1, "update": "gated"}
    config.strategy = {"enabled": memory}

    config.objective = {
        "name": "flow",
        "prediction": "x",
        "time_mean": -1.2,
        "unroll": 2 if memory else 1,
        "chains": 0.125 if memory else 1.0,  # as good, and the others cost half
        "carry": 0.9,
        "remat": False,  # two steps fit into memory
    }
    config.optimizer = {
        "name": "normuon",
        "lr": 4e-3,
        "schedule": "linear",
        "warmup": 100,
        "weight_decay": 0.3,
    }
    if argument == "wide":  # of fewer, larger products
        config.steps = 2_200
        config.painter.update({"width": 256, "layers": 2})
    if argument == "muon":  # experiments that change one thing of the quickstart keep to this
        config.steps = 1_750
        config.memory.slots, config.objective.chains = 4, 0.25
        config.optimizer.update({"name": "muon", "schedule": "cosine"})
    config.ema = 0.997
    config.drawing = {"steps": 12, "solver": "renoise", "guidance_scale": 1.75}

    half = config.steps // 2
    config.log_every = 50
    config.checkpoint = {"every": 600, "keep": 2, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": half, "count": 512},
        "progress": {"name": "claims", "every": half, "sets": ("val",), "count": 128},
        "grid": {"name": "grid", "every": half},
        "claims": {"name": "claims", "sets": ("test", "compositional"), "count": 512},
        "others": {"name": "claims", "sets": ("vague", "length"), "count": 256},
    }
    return config
