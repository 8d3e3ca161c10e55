"""The ways to draw, with one backbone: as many pictures as quickstart.py:muon, and as many seconds.

    vismem train experiments/quickstart.py       # first: what gan-from-flow goes on from
    vismem train experiments/autoencoder.py      # first: the grid that masked and latent draw on
    vismem train experiments/objectives.py:gan   # or another row
    vismem sweep experiments/objectives.py --jobs 1
    vismem table experiments/objectives.py

A row with "-seconds" trains for as long as flow does, the others on as many pictures; flow,
diffusion and latent do both. With
"expanded" or "gan,expanded" for the argument, drawings of what runs/expansion
(experiments/expansion.py) makes of vague captions have a column too, which is else empty; it is
`--config.evaluators.others.expander=runs/expansion`. "classified" is the share of 128 pictures for
which, of 32 captions, the right one has the lowest loss (`zeroshot` of experiments/towers.py has
the same classes). What came out is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError

GAN = {"name": "gan", "steps": 4, "unroll": 2, "chains": 0.25, "remat": False}
MOVED_BY_GAN = {"name": "adamw", "lr": 4e-4, "b1": 0.0, "b2": 0.99, "schedule": "constant"}
DRAWN_BY_GAN = {"steps": 4, "solver": "renoise", "guidance_scale": 1.0}
DIFFUSION = {"objective.name": "diffusion", "drawing.solver": "multistep"}
# Velocity and noise have as many dimensions as a patch has numbers: patches of 8 x 8 have more than
# the painter's width, and nothing is learnt (experiments/settings.py). Nor are they mixtures of a
# few colours.
NOT_THE_PICTURE = DIFFUSION | {"painter.patch": 4, "painter.palette": 0}
# Where each differs from quickstart.py:muon. What goes on from a run has its budget on top.
# Tokens and codes have no colours to mix, and patches of 2 x 2 are as many pixels as its patches.
ROWS = {
    "flow": {},
    "diffusion": DIFFUSION,
    "diffusion-v": NOT_THE_PICTURE | {"objective.prediction": "v"},
    "diffusion-eps": NOT_THE_PICTURE | {"objective.prediction": "eps"},
    "regress": {
        "objective": {"name": "regress", "steps": 4},
        "drawing": {"steps": 4, "solver": "euler", "guidance_scale": 1.0},
    },
    "gan": {
        "objective": GAN,
        "optimizer": MOVED_BY_GAN,
        "drawing": DRAWN_BY_GAN,
    },
    # The critic knows nothing when it begins: what it says should not count for much until it does.
    "gan-from-flow": {
        "start": "runs/quickstart",
        "steps": 750,
        "objective": GAN,
        "optimizer": MOVED_BY_GAN | {"lr": 2e-4, "lr_factors": (("generator", 0.2),)},
        "drawing": DRAWN_BY_GAN,
    },
    "masked": {
        "painter.patch": 2,
        "painter.palette": 0,
        "objective": {
            "name": "masked",
            "autoencoder": "runs/autoencoder",
            "steps": 2,
            "chains": 0.25,
        },
        "drawing": {"steps": 12, "solver": "reveal", "guidance_scale": 1.75},
    },
    "latent": {
        "painter.patch": 2,
        "painter.palette": 0,
        "objective.autoencoder": "runs/autoencoder",
    },
}
# As many seconds as flow's 1,750 steps; those of diffusion and latent take as long (0.96, 0.95 of
# its), a step of regress 2.35, of masked 1.20 and of gan 4.8 (CPU time on one core of a busy
# machine, medians of five blocks in turns, which vary by a factor of two; gan's of four from 4.4 to
# 5.2, later, on another machine):
#   taskset -c 1 python benchmarks/rows.py experiments/objectives.py flow diffusion regress gan \
#       masked latent --rounds 5 --steps 2
SECONDS = {"regress": 750, "gan": 350, "masked": 1_450}
ROWS |= {f"{row}-seconds": {**ROWS[row], "steps": steps} for row, steps in SECONDS.items()}
# Of a picture with a text gan has no loss to classify by.
CLASSIFIED = {"evaluators.generative": {"name": "generative", "count": 128, "draws": 8}}
ROWS = {row: changes if "gan" in row else changes | CLASSIFIED for row, changes in ROWS.items()}


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is a row, "expanded", or both: "gan,expanded". Without a row it is
    what all rows change: flow, not classified."""
    row = argument.removesuffix("expanded").removesuffix(",")
    if row and row not in ROWS:
        raise UserError(
            f"objectives.py:{argument}: the argument is expanded or one of {', '.join(ROWS)}"
        )
    base = config.load(str(Path(__file__).with_name("quickstart.py:muon")))
    # Every picture new, as in the rows in RESULTS.md: two of a table must not differ by that.
    del base.data.source.examples, base.data.cache, base.data.prefetch
    for label in ("loss", "progress", "grid"):  # the GANs that go on are short
        base.evaluators[label].every = 600
    encoder = {"name": "cnn"}
    base.evaluators.diversity = {"name": "diversity", "every": 600, "encoder": encoder}
    base.evaluators.distribution = {"name": "distribution", "encoder": encoder}
    base.evaluators.speed = {"name": "speed"}
    if argument.endswith("expanded"):
        base.evaluators.others.expander = "runs/expansion"
    changes = ROWS.get(row, {})
    config.override(base, (f"--config.{key}={value!r}" for key, value in changes.items()))
    return base


def sweep() -> dict:
    """Rows and seeds."""
    return {"rows": ROWS, "seeds": (0, 1)}


def table() -> dict:
    """Columns."""
    return {
        "exact claims": {"metric": "test/exact_claim", "percent": True},
        "vague": {"metric": "vague/exact_claim", "percent": True},
        "vague, expanded": {"metric": "vague, expanded/exact_claim", "percent": True},
        "object F1": {"metric": "test/object_f1", "percent": True},
        "distinct of 16": {"metric": "diversity/distinct", "digits": 1},
        "distance of 16, random CNN": {"metric": "diversity/distance, random cnn", "digits": 2},
        "recall of 16, random CNN": {"metric": "diversity/recall, random cnn", "percent": True},
        "coverage of 16, random CNN": {"metric": "diversity/coverage, random cnn", "percent": True},
        "Frechet, random CNN": {
            "metric": "frechet, random cnn",
            "digits": 3,
            "best": "min",
        },
        "coverage, random CNN": {"metric": "coverage, random cnn", "percent": True},
        "classified": {"metric": "test/generative/top1", "percent": True},
        "pictures/s drawn": {"metric": "drawing/pictures_per_second", "digits": 0},
        "drawing steps": {"metric": "drawing/steps", "digits": 0, "best": "min"},
        "evaluations": {"metric": "drawing/evaluations", "digits": 0, "best": "min"},
        "training steps": {"metric": "steps", "digits": 0, "best": "min"},
        "seconds": {"metric": "seconds", "digits": 0, "best": "min"},
    }
