"""Locked-image tuning: which tower may learn, and which begins pretrained (Zhai et al. 2022).

    python -c "from vismem.pretrained.squeezenet import convert; \\
        convert('../shared/data/squeezenet/decoded_squeezenet10_OIHW.npz', 'runs/squeezenet')"
    vismem sweep experiments/lit.py:emoji
    vismem table experiments/lit.py:emoji
    vismem sweep experiments/lit.py:world

The first letter is the image tower's, the second the text tower's: L is pretrained and locked, U
pretrained and tuned, at a tenth of the learning rate, u trained from nothing. The image tower is
SqueezeNet, or another folder with "emoji,tower=FOLDER" (DINOv2, CLIP, ViT, ...), "uu" excepted; the
pretrained text tower is MiniLM. Emoji that differ in skin tone only are on one side of the split;
20% are held out, and the right one of all their texts is what zero-shot means there. Of the world
zero-shot has columns of its own, one for pairs of shape and colour that training never shows. By
the CPU time of a few steps the emoji's training takes one core 1 minute for Lu, 14 for LU, 20 for
Uu, 34 for UU and 19 for uu. What the paper finds is Lu ahead of Uu ahead of uu on what was not
seen; which rows were trained here, and what came out, is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem.errors import UserError
from vismem.reports import sweeps

TEXTS = str(Path(__file__).with_name("text_encoders.py"))
EMOJI = {
    "name": "folder",
    "root": "../shared/data/emoji",
    "val": 0.0,
    "test": 0.2,
    "alike": "_1f3f[b-f]",  # the code points of skin tones
    "keywords": 3,
}
WORLD = {"name": "world", "preset": "tiny", "style": "fixed", "examples": 4_000}


def get_config(argument: str = "") -> ConfigDict:
    """The config of Lu; `argument` is "emoji" (or nothing) or "world", and may go on with
    ",tower=FOLDER".
    """
    data, _, tower = (argument or "emoji").partition(",tower=")
    if data not in ("emoji", "world"):
        raise UserError(f"lit.py:{argument}: the argument is emoji or world[,tower=FOLDER]")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 128
    config.steps = 320  # 15 epochs of the emoji

    config.data = {
        "source": EMOJI if data == "emoji" else WORLD,
        "size": 96,
        "tokenizer": {"name": "bpe", "vocab_size": 2048, "length": 20},
        "cache": 4_000,
        "cache_image": "runs/image_cache",
    }
    config.vision = {"name": "pretrained", "folder": tower or "runs/squeezenet"}
    config.text = {"name": "transformer", "width": 128, "layers": 2, "heads": 4}
    config.objective = {"name": "contrastive", "width": 256, "head": False}
    config.optimizer = {
        "name": "adamw",
        "lr": 1e-3,
        "warmup": 0.1,
        "weight_decay": 0.01,
        "freeze": (("vision_encoder/", True),),
    }
    config.ema = 0.99

    config.log_every = 10
    config.checkpoint = {"every": 200, "best": ""}
    config.evaluators = {"retrieval": {"name": "retrieval"}}
    if data == "world":
        config.evaluators.zeroshot = {"name": "zeroshot"}
        config.evaluators.compositional = {"name": "zeroshot", "split": "compositional"}
    return config


def sweep() -> dict:
    text = {"text": {"name": "pretrained", "folder": sweeps.declared(TEXTS, "minilm")}}
    unlocked = {"optimizer.freeze": (), "data.cache_image": "", "objective.head": True}

    def tuned(*parts: str) -> dict:
        return {"optimizer.lr_factors": tuple((f"{part}_encoder/", 0.1) for part in parts)}

    return {
        "rows": {
            "Lu": {},
            "Lu, head": {"objective.head": True},
            "LU": {**text, **tuned("text")},
            "Uu": {**unlocked, **tuned("vision")},
            "UU": {**unlocked, **text, **tuned("vision", "text")},
            "uu": {**unlocked, "vision": {"name": "squeezenet", "version": "1.0"}},
        },
        "seeds": (0,),
    }


def table(argument: str = "") -> dict:
    shown = {"recall@1": True, "recall@5": True, "recall@10": True, "median_rank": False}
    columns = {
        f"{key}, {way}": {"metric": f"test/{way}/{key}", "percent": percent}
        | ({} if percent else {"best": "min"})
        for way in ("text_to_image", "image_to_text")
        for key, percent in shown.items()
    }
    if argument.startswith("world"):
        for split in ("test", "compositional"):
            columns[f"zero-shot, {split}"] = {"metric": f"{split}/zeroshot/top1", "percent": True}
    return columns
