"""Pictures of the tiny world changed: inpainted, as instructed, restyled, restored.

    pip install -e ".[edits]"                             # PSNR and SSIM of restored pictures
    vismem train experiments/quickstart.py                # what it begins with
    vismem train experiments/editing.py
    vismem train experiments/editing.py:inpaint           # or another kind, alone
    vismem edit runs/editing --image in.png --mask mask.png "a yellow cross" --out out.png
    vismem edit runs/editing --image in.png "make everything blue" --out out.png

One objective for all: every edit is a conversation of one turn that begins with the picture to be
changed, which memory has read. A mask is a channel beside that picture. There are no stars in the
tiny world: its shapes are circles, squares, triangles and crosses. What came out is in
experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config as configs
from vismem.errors import UserError
from vismem.worlds.edits import KINDS


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is a kind of edit, or "" for all."""
    if argument not in ("", *KINDS):
        raise UserError(f"editing.py:{argument}: the argument is nothing or {', '.join(KINDS)}")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 64
    config.steps = 3_000
    config.start = "runs/quickstart"

    kinds = {kind: 1.0 for kind in ([argument] if argument else KINDS)}
    config.data = {
        "source": {"name": "edits", "kinds": kinds, "lang": "en"},
        "size": 32,
        # The quickstart's pieces, of which instructions have more.
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 40},
    }
    base = configs.load(str(Path(__file__).with_name("quickstart.py")))
    config.update({part: base[part] for part in ("text", "vision", "fusion", "painter")})
    config.memory = {"enabled": True, "slots": 8, "places": True, "update": "gated"}
    config.strategy = {"enabled": True}

    config.objective = {
        "name": "flow",
        "prediction": "x",
        "time_mean": -1.2,
        "unroll": 1,
        "remat": False,
    }
    config.optimizer = {"name": "muon", "lr": 3e-3, "warmup": 100, "weight_decay": 0.1}
    config.ema = 0.998
    config.drawing = {"steps": 12, "solver": "renoise", "guidance_scale": 1.5}

    config.log_every = 50
    config.checkpoint = {"every": 1_000, "keep": 1, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 1_000, "count": 256},
        "progress": {"name": "edits", "every": 1_000, "split": "val", "count": 64},
        "test": {"name": "edits", "count": 256},
    }
    return config
