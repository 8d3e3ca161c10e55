"""Which settings the quickstart should have: quickstart.py:muon with one of them changed.

    vismem train experiments/settings.py             # none changed, 38,400 pictures
    vismem sweep experiments/settings.py --jobs 1    # in order: the last rows go on from others
    vismem table experiments/settings.py
    vismem compare runs/settings/as-it-is/0 runs/settings/no-memory/0 --against seconds

Every row has a third of its pictures and a whole schedule over them, and one seed: what is ahead
here is a lead, to be trained at the quickstart's length with two. Rows "then" are the curriculum of
vagueness: they go on from half as many pictures of another kind of captions, and have the other
half. What came out is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError

PICTURES = 38_400
# A palette mixes the colours of a picture; noise and velocities are no such mixture.
NO_PALETTE = {"painter.palette": 0}
HALF = {"examples": PICTURES // 2}
EVERY = ("evaluators.loss.every", "evaluators.progress.every")
VAGUE = {"data.source.style": "vague"}
ROWS = {
    "as it is": {},
    "no palette": NO_PALETTE,
    "no palette, predicts v": NO_PALETTE | {"objective.prediction": "v"},
    "no palette, predicts eps": NO_PALETTE | {"objective.prediction": "eps"},
    "times around -2": {"objective.time_mean": -2.0},
    "times around 0": {"objective.time_mean": 0.0},
    "uniform times": {"objective.times": "uniform"},
    "width 96": {"painter.width": 96},
    "width 192": {"painter.width": 192},
    "no memory": {
        "memory.enabled": False,
        "strategy.enabled": False,
        "objective.unroll": 1,
        "objective.chains": 1.0,
    },
    "1 slot": {"memory.slots": 1},
    "16 slots": {"memory.slots": 16},
    "R = 4": {"objective.unroll": 4},
    "GRU": {"memory.update": "gru"},
    "residual": {"memory.update": "residual"},
    "learning rate 2e-3": {"optimizer.lr": 2e-3},
    "learning rate 8e-3": {"optimizer.lr": 8e-3},
    "batches of 32": {"batch_size": 32, "optimizer.warmup": 200} | dict.fromkeys(EVERY, 300),
    "batches of 128": {"batch_size": 128, "optimizer.warmup": 50} | dict.fromkeys(EVERY, 75),
    "AdamW, 1e-3": {"optimizer.name": "adamw", "optimizer.lr": 1e-3},
    "AdamW, 2e-3": {"optimizer.name": "adamw", "optimizer.lr": 2e-3},
    "vague captions too": {"data.source.style": "any"},
    "half, fixed": HALF,
    "half, vague": HALF | VAGUE,
    "fixed, then fixed": HALF | {"start": "runs/settings/half-fixed/0"},
    "vague, then fixed": HALF | {"start": "runs/settings/half-vague/0"},
    "fixed, then vague": HALF | VAGUE | {"start": "runs/settings/half-fixed/0"},
}


def get_config(argument: str = "") -> ConfigDict:
    """What all rows change: quickstart.py:muon, shorter, every picture new."""
    if argument:
        raise UserError(f"settings.py:{argument}: takes no argument")
    base = config.load(str(Path(__file__).with_name("quickstart.py:muon")))
    del base.steps
    base.examples = PICTURES
    # Passes over kept pictures would be few, and differ with the batch. Vague captions are longer.
    del base.data.source.examples, base.data.cache, base.data.prefetch, base.data.pad_to
    del base.evaluators.grid
    for every in EVERY:
        config.override(base, [f"--config.{every}=150"])
    return base


def sweep() -> dict:
    """Rows and the seed."""
    return {"rows": ROWS, "seeds": (0,)}


def table() -> dict:
    """Columns."""
    return {
        "val loss": {"metric": "val/loss", "digits": 4, "best": "min"},
        "test": {"metric": "test/exact_claim", "percent": True},
        "compositional": {"metric": "compositional/exact_claim", "percent": True},
        "vague": {"metric": "vague/exact_claim", "percent": True},
        "three things": {"metric": "length/exact_claim", "percent": True},
        "object F1": {"metric": "test/object_f1", "percent": True},
        "images/s": {"metric": "images_per_second"},
        "seconds": {"metric": "seconds", "digits": 0, "best": "min"},
    }
