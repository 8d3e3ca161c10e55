"""Whether natural sentences about pictures are true: the captioner on NLVR, and what the sentence
alone gives away, two seeds each.

    vismem sweep experiments/nlvr.py
    vismem table experiments/nlvr.py

`../shared/data/nlvr` is the repository lil-lab/nlvr, or what is at hand of it; another place is an
argument, `experiments/nlvr.py:path/to/nlvr`. A fifth of the sentences of its dev split are held
out with all their pictures. The column `majority` is the more frequent answer in training. By the
CPU time of a few steps training takes one core 30 minutes a run. What was found, and which runs
were made, is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is the folder of NLVR."""
    made = config.load(str(Path(__file__).with_name("questions.py")))
    made.steps = 1_500
    made.data = {
        "source": {"name": "nlvr", "root": argument or "../shared/data/nlvr"},
        "size": 64,
        "tokenizer": {"name": "bpe", "vocab_size": 512, "length": 24},
        "augment": {"flip": {}},  # left and right change places in the sentences too
    }
    made.optimizer.weight_decay = 0.05
    made.checkpoint.every = 500
    made.evaluators = {
        "loss": {"name": "loss", "every": 250, "count": 512},
        "progress": {"name": "answers", "every": 250, "splits": ("val",), "count": 512},
        "answers": {"name": "answers", "every": 0, "count": 2_000},
    }
    return made


def sweep() -> dict:
    rows = {"picture and sentence": {}, "sentence only": {"objective.blind": True}}
    return {"rows": rows, "seeds": (0, 1)}


def table() -> dict:
    return {
        "test": {"metric": "test/answers", "percent": True},
        "majority": {"metric": "test/majority", "percent": True},
        "parameters": {"metric": "parameters", "digits": 0, "best": "min"},
    }
