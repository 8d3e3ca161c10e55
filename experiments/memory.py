"""Is memory worth anything? Conversations of five turns, drawn with and without it.

    vismem train experiments/quickstart.py                # what all rows but one begin with
    vismem train experiments/quickstart.py:memory=off     # what "no memory" begins with
    vismem train experiments/memory.py                    # one run, with memory
    vismem sweep experiments/memory.py --jobs 1           # all rows, two seeds each
    vismem table experiments/memory.py

Every row has learned to draw single captions for as many seconds, and then has the same number of
steps of as many conversations. What came out is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config as configs

ROWS = {
    "full": {},
    "no memory": {
        "start": "runs/quickstart-memory=off",
        "memory.enabled": False,
        "strategy.enabled": False,
    },
    "no slots with places": {"memory.places": False},
    "no strategy": {"strategy.enabled": False},
    "written in the first turn only": {"memory.writes": "first turn"},
    "1 slot": {"memory.slots": 1},
    "4 slots": {"memory.slots": 4},
    "16 slots": {"memory.slots": 16},
    "GRU": {"memory.update": "gru"},
    "residual": {"memory.update": "residual"},
    "R = 2": {"objective.unroll": 2},
    "R = 4": {"objective.unroll": 4},
}


def get_config(argument: str = "") -> ConfigDict:
    """The full row."""
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 16
    config.steps = 3_000
    config.start = "runs/quickstart"

    config.data = {
        "source": {"name": "dialogue", "preset": "tiny", "lang": "en", "turns": 5},
        "size": 32,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 24},
    }
    # Built as the quickstart is, whose parameters fit only that.
    base = configs.load(str(Path(__file__).with_name("quickstart.py")))
    config.update({part: base[part] for part in ("text", "vision", "fusion", "painter")})
    config.memory = {"enabled": True, "slots": 8, "places": True, "update": "gated"}
    config.strategy = {"enabled": True}

    config.objective = {
        "name": "flow",
        "prediction": "x",
        "time_mean": -1.2,
        "unroll": 1,
        "own": 0.3,
        "remat": False,
    }
    config.optimizer = {"name": "muon", "lr": 2e-3, "warmup": 100, "weight_decay": 0.1}
    config.ema = 0.998
    config.drawing = {"steps": 12, "solver": "renoise", "guidance_scale": 1.5}

    config.log_every = 50
    config.checkpoint = {"every": 1_000, "keep": 1, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 1_000, "count": 256, "batch_size": 64},
        "progress": {"name": "dialogues", "every": 1_000, "split": "val", "count": 128},
        "test": {"name": "dialogues", "count": 500},
        "true canvas": {"name": "dialogues", "count": 250, "canvas": "true"},
    }
    return config


def sweep() -> dict:
    """Rows and seeds."""
    return {"rows": ROWS, "seeds": (0, 1)}


def table() -> dict:
    """Columns."""
    name = "test/exact_claim"
    return {
        "needs memory": {"metric": f"{name}, needs memory", "percent": True},
        "canvas suffices": {"metric": f"{name}, canvas suffices", "percent": True},
        "all turns": {"metric": name, "percent": True},
        "turn 5": {"metric": f"{name}, turn 5", "percent": True},
        "object F1": {"metric": "test/object_f1", "percent": True},
        "true canvas, needs memory": {
            "metric": "test, true canvas/exact_claim, needs memory",
            "percent": True,
        },
        "images/s": {"metric": "images_per_second"},
    }
