"""The memory generator at the sizes of DiT (Peebles & Xie 2023), 64 px in bfloat16, for a pod.

    vismem plan experiments/xl.py --topology v5e:16x16            # what a step costs there
    vismem train experiments/xl.py:S --config.mesh.fsdp=8         # S, B, L or, by default, XL

Planned, not trained: no size of it has been run. What the plans say is in experiments/RESULTS.md.
"""

from ml_collections import ConfigDict

from vismem.errors import UserError
from vismem.registry import nearest

# Width, layers, heads.
SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}


def get_config(argument: str = "XL") -> ConfigDict:
    """The config of a size."""
    size = argument or "XL"
    if size not in SIZES:
        raise UserError(f"xl.py:{size}: unknown size; {nearest(size, SIZES)}")
    width, layers, heads = SIZES[size]
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 1024
    config.steps = 400_000

    config.data = {
        "source": {"name": "world", "preset": "default"},
        "size": 64,
        "tokenizer": {"name": "bpe", "vocab_size": 1024, "length": 64},
        "threads": 16,
        "prefetch": 32,
    }
    config.text = {"name": "transformer", "width": 512, "layers": 6, "heads": 8}
    config.vision = {"name": "patches"}
    config.fusion = {"name": "attention"}
    config.painter = {
        "width": width,
        "layers": layers,
        "heads": heads,
        "patch": 4,
        "dtype": "bfloat16",
    }
    config.memory = {"slots": 32}
    config.objective = {"name": "flow", "unroll": 4}
    config.optimizer = {"name": "adamw", "lr": 1e-4, "schedule": "constant", "warmup": 5_000}
    config.ema = 0.9999
    config.mesh = {"data": -1, "fsdp": 16}  # not 256: XL's width is no multiple of it
    config.drawing = {"steps": 50, "solver": "renoise", "guidance_scale": 2.0}

    config.log_every = 100
    config.checkpoint = {"every": 10_000, "keep": 2, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 10_000, "count": 4_096},
        "grid": {"name": "grid", "every": 10_000},
        "claims": {"name": "claims", "every": 50_000, "count": 1_024},
    }
    return config
