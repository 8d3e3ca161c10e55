"""Five turns, each adds a thing beside others, as in i-CLEVR (El-Nouby et al. 2019).

    vismem train experiments/quickstart.py                # what the next begins with
    vismem train experiments/iclevr.py                    # the tiny world's preset, 32 px
    vismem train experiments/iclevr.py:geneva=FOLDER      # i-CLEVR itself, FOLDER/clevr_train.h5

On the preset the oracle reads what was drawn: `test/object_f1` and `test/rsim` of the last turn's
pictures are the published table's columns (GeNeVA-GAN; LatteGAN 2021: F1 97.3, rsim 83.2), with
the oracle in place of their trained localiser and pictures that are plainer than theirs: a goal of
the same kind, not the same number.

Of i-CLEVR itself nothing reads the rendered pictures back: the oracle knows the tiny world only,
and the localiser is not part of the published files. What a run on it gives is `val/loss`, and
drawings by `vismem draw RUN "..." "..." --conversation`; F1 and rsim need that localiser, run on
them. GeNeVA's files are written by the scripts of github.com/Maluuba/GeNeVA_datasets; they need
`pip install 'vismem[geneva]'`.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config as configs
from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is "" or "geneva=FOLDER"."""
    name, _, folder = argument.partition("=")
    if argument and not (name == "geneva" and folder):
        raise UserError(f"iclevr.py:{argument}: the argument is nothing or geneva=FOLDER")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 16
    config.steps = 4_000 if folder else 2_500
    config.start = "" if folder else "runs/quickstart"

    source = {"name": "dialogue", "preset": "iclevr", "lang": "en", "turns": 5}
    if folder:
        source = {"name": "geneva", "folder": folder, "dataset": "iclevr"}
    size = 64 if folder else 32
    config.data = {
        "source": source,
        "size": size,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 48 if folder else 32},
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
        "lr": 3e-3 if folder else 2e-3,
        "warmup": 100,
        "weight_decay": 0.1,
    }
    config.ema = 0.998
    config.drawing = {"steps": 12, "solver": "renoise", "guidance_scale": 1.5}

    config.log_every = 50
    config.checkpoint = {"every": 500, "keep": 1, "best": "val/loss"}
    config.evaluators = {"loss": {"name": "loss", "every": 500, "count": 256, "batch_size": 64}}
    if not folder:
        config.evaluators.progress = {
            "name": "dialogues",
            "every": 500,
            "split": "val",
            "count": 128,
        }
        config.evaluators.test = {"name": "dialogues", "count": 500}
    return config
