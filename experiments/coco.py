"""COCO's captions at 256 px: the config that a group with a pod would start from.

    vismem plan experiments/coco.py --topology v5e:16x16
    vismem train experiments/coco.py                        # L; coco.py:XL for the larger

Planned, not run. It expects `coco_captions` of tensorflow-datasets in data/, prepared once on a
machine with TensorFlow:

    tfds build coco_captions --data_dir=data --file_format=array_record

and reads from the Hugging Face Hub what stays as it is: the encoder of google/t5-v1_1-large, and
stabilityai/sd-vae-ft-mse, on whose latents, 32 x 32, pictures are drawn in patches of 2. Either may
be a folder instead (`config.text.folder`, `config.objective.autoencoder.folder`).
"""

from ml_collections import ConfigDict

from vismem.errors import UserError
from vismem.registry import nearest

# Width, layers, heads, as DiT has them (Peebles & Xie 2023).
SIZES = {"L": (1024, 24, 16), "XL": (1152, 28, 16)}


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is the painter's size, L or XL."""
    size = argument or "L"
    if size not in SIZES:
        raise UserError(f"coco.py:{size}: unknown size; {nearest(size, SIZES)}")
    width, layers, heads = SIZES[size]
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 1024
    config.steps = 400_000

    config.data = {
        "source": {
            "name": "tfds",
            "folder": "data/coco_captions/2014/1.1.0",
            "text": "captions/text",
            "texts": 5,
        },
        "size": 256,
        "tokenizer": {"length": 64},  # the encoder brings the rest
        "augment": {"crop": {}},  # no flips: captions tell left from right
        "on_error": "skip",
        "threads": 16,
        "prefetch": 32,
    }
    config.text = {
        "name": "pretrained",
        "folder": "google/t5-v1_1-large",
        # As its config.json has it, here and below; a plan reads no folder.
        "encoder": {
            "name": "t5",
            "vocab_size": 32_128,
            "width": 1024,
            "layers": 24,
            "heads": 16,
            "head_dim": 64,
            "hidden": 2816,
            "activation": "gelu_new",
            "gated": True,
        },
    }
    config.vision = {"name": "patches"}
    config.fusion = {"name": "attention"}
    config.painter = {
        "width": width,
        "layers": layers,
        "heads": heads,
        "patch": 2,
        "dtype": "bfloat16",
        "remat": "full",
    }
    config.memory = {"slots": 64}
    config.objective = {
        "name": "flow",
        "unroll": 2,
        "autoencoder": {
            "folder": "stabilityai/sd-vae-ft-mse",
            "name": "autoencoder_kl",
            "widths": (128, 256, 512, 512),
            "blocks": 2,
            "channels": 4,
            "groups": 32,
            "scaling_factor": 0.18215,
        },
    }
    config.optimizer = {
        "name": "adamw",
        "lr": 1e-4,
        "schedule": "constant",
        "warmup": 5_000,
        "freeze": (("text_encoder/", True),),
        "frozen_dtype": "bfloat16",
    }
    config.ema = 0.9999
    config.mesh = {"data": -1, "fsdp": 16}
    config.drawing = {"steps": 50, "solver": "renoise", "guidance_scale": 3.0}

    config.log_every = 100
    config.checkpoint = {"every": 5_000, "keep": 2, "best": "val/loss"}
    config.evaluators = {
        "loss": {"name": "loss", "every": 5_000, "count": 4_096},
        "grid": {"name": "grid", "every": 5_000},
    }
    return config
