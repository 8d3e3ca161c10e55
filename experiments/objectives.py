"""The ways to draw, with one backbone and one budget of pictures: the quickstart's.

    vismem train experiments/objectives.py:gan      # or flow, diffusion, regress, gan-from-flow
    vismem sweep experiments/objectives.py --jobs 1
    vismem table experiments/objectives.py

What came out is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError

# Where each differs from the quickstart. Only the first two know drawing without a text. The last
# goes on from what the quickstart has learned, so that its budget comes on top.
ROWS = {
    "flow": {},
    "diffusion": {
        "objective.name": "diffusion",
        "drawing.solver": "multistep",
    },
    "regress": {
        "objective": {"name": "regress", "steps": 4},
        "drawing": {"steps": 4, "solver": "euler", "guidance_scale": 1.0},
    },
    "gan": {
        "objective": {"name": "gan", "steps": 2},
        "optimizer": {"name": "adamw", "lr": 4e-4, "b1": 0.0, "b2": 0.99, "schedule": "constant"},
        "drawing": {"steps": 2, "solver": "euler", "guidance_scale": 1.0},
    },
    "gan-from-flow": {
        "start": "runs/quickstart",
        "steps": 1_500,
        "objective": {"name": "gan", "steps": 2},
        "optimizer": {"name": "adamw", "lr": 2e-4, "b1": 0.0, "b2": 0.99, "schedule": "constant"},
        "drawing": {"steps": 2, "solver": "euler", "guidance_scale": 1.0},
    },
}


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is a row, flow by default."""
    if argument and argument not in ROWS:
        raise UserError(f"objectives.py:{argument}: the argument is one of {', '.join(ROWS)}")
    base = config.load(str(Path(__file__).with_name("quickstart.py")))
    base.evaluators.diversity = {"name": "diversity", "every": 1_200}
    base.evaluators.distribution = {"name": "distribution", "encoder": {"name": "cnn"}}
    settings = ROWS[argument or "flow"].items()
    return config.override(base, (f"--config.{key}={value!r}" for key, value in settings))


def sweep() -> dict:
    """Rows and seeds."""
    return {"rows": ROWS, "seeds": (0, 1)}


def table() -> dict:
    """Columns."""
    return {
        "exact claims": {"metric": "test/exact_claim", "percent": True},
        "vague": {"metric": "vague/exact_claim", "percent": True},
        "object F1": {"metric": "test/object_f1", "percent": True},
        "distinct of 16": {"metric": "diversity/distinct", "digits": 1},
        "Frechet, random CNN": {
            "metric": "frechet, random cnn",
            "digits": 3,
            "best": "min",
        },
        "coverage, random CNN": {"metric": "coverage, random cnn", "percent": True},
        "images/s": {"metric": "images_per_second"},
    }
