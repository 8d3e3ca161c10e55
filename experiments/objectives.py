"""The ways to draw, with one backbone and one budget of pictures: the quickstart's.

    vismem train experiments/objectives.py:gan      # or flow, diffusion, regress
    vismem sweep experiments/objectives.py --jobs 1
    vismem table experiments/objectives.py

What came out is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError

# What each has for objective, optimizer and drawing where it is not as the quickstart has it.
GAN_OPTIMIZER = {"name": "adamw", "lr": 4e-4, "b1": 0.0, "b2": 0.99, "schedule": "constant"}
OBJECTIVES = {
    "flow": {},
    "regress": {
        "objective": {"name": "regress", "steps": 4},
        "drawing": {"steps": 4, "solver": "euler", "guidance_scale": 1.0},
    },
    "gan": {
        "objective": {"name": "gan", "steps": 2},
        "optimizer": GAN_OPTIMIZER,
        "drawing": {"steps": 2, "solver": "euler", "guidance_scale": 1.0},
    },
}


def get_config(argument: str = "flow") -> ConfigDict:
    """The config; `argument` is an objective."""
    argument = argument or "flow"
    if argument not in OBJECTIVES:
        raise UserError(f"objectives.py:{argument}: one of {', '.join(OBJECTIVES)}")
    base = config.load(str(Path(__file__).with_name("quickstart.py")))
    for part, choice in OBJECTIVES[argument].items():
        base[part] = ConfigDict(choice)
    return base


def sweep() -> dict:
    """Rows and seeds."""
    return {"rows": {name: {} for name in OBJECTIVES}, "seeds": (0, 1)}
