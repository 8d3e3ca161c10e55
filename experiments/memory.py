"""Is memory worth anything? Conversations of five turns, drawn with and without it.

    vismem train experiments/quickstart.py                # what all rows but one begin with
    vismem train experiments/quickstart.py:memory=off     # what "no memory" begins with
    vismem train experiments/memory.py                    # one run, with memory
    vismem sweep experiments/memory.py --jobs 1           # all rows, two seeds each
    vismem table experiments/memory.py
    vismem train experiments/memory.py:corrections        # accuracy after 0, 1, 2, 3 corrections

Every row has learned to draw single captions for as many seconds, and then has the same number of
steps of as many conversations. `memory.py:short` is the same with a third of the steps, at twice
the learning rate.

With `:corrections` a quarter of the turns are misunderstood and corrected in the next; when the run
ends, the oracle names what is wrong with drawings, one thing at a time, and the figure
"test corrections" shows how many are right after 0, 1, 2 and 3 corrections. Both arguments go
together, `memory.py:corrections,short`. What came out is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config as configs
from vismem.errors import UserError

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
    "teacher forced only": {"objective.own": 0.0},
    "R = 2": {"objective.unroll": 2},
    "R = 4": {"objective.unroll": 4},
}


def get_config(argument: str = "") -> ConfigDict:
    """The full row; `argument` is "", "short", "corrections" or both with a comma between."""
    chosen = {name for name in argument.split(",") if name}
    if chosen - {"short", "corrections"}:
        raise UserError(f"memory.py:{argument}: the argument is nothing, short or corrections")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 16
    short = "short" in chosen
    config.steps = 1_000 if short else 3_000
    config.start = "runs/quickstart"

    config.data = {
        "source": {"name": "dialogue", "preset": "tiny", "lang": "en", "turns": 5},
        "size": 32,
        # The quickstart's pieces, of which instructions have more: it has never read "drew".
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 40},
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
    config.optimizer = {
        "name": "muon",
        "lr": 4e-3 if short else 2e-3,
        "warmup": 100,
        "weight_decay": 0.1,
    }
    config.ema = 0.996 if short else 0.998
    config.drawing = {"steps": 12, "solver": "renoise", "guidance_scale": 1.5}

    config.log_every = 50
    config.checkpoint = {"every": 1_000, "keep": 1, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 1_000, "count": 256, "batch_size": 64},
        "progress": {"name": "dialogues", "every": 1_000, "split": "val", "count": 128},
        "test": {"name": "dialogues", "count": 500},
        "true canvas": {"name": "dialogues", "count": 250, "canvas": "true"},
    }
    if "corrections" in chosen:
        config.data.source.corrections = 0.25
        config.evaluators.corrections = {"name": "corrections"}
    return config


def sweep() -> dict:
    """Rows and seeds."""
    return {"rows": ROWS, "seeds": (0, 1)}


def table() -> dict:
    """Columns; a share of conversations' turns with the interval that conversations leave it."""
    claim, true = "test/exact_claim", "test, true canvas/exact_claim"
    share = {"percent": True, "interval": "evaluator"}
    return {
        "needs memory": {"metric": f"{claim}, needs memory", **share},
        "canvas suffices": {"metric": f"{claim}, canvas suffices", **share},
        "all turns": {"metric": claim, **share},
        "turn 5": {"metric": f"{claim}, turn 5", "percent": True},
        "object F1": {"metric": "test/object_f1", "percent": True},
        "rsim": {"metric": "test/rsim", "percent": True},
        "true canvas, needs memory": {"metric": f"{true}, needs memory", **share},
        "true canvas, canvas suffices": {"metric": f"{true}, canvas suffices", **share},
        "images/s": {"metric": "images_per_second"},
    }
