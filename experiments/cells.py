"""How many cells of each kind a picture of blood shows: the captioner on BCCD, and what the
question alone gives away, two seeds each.

    vismem sweep experiments/cells.py
    vismem table experiments/cells.py

`../shared/data/bccd/BCCD` is that folder of Shenggan/BCCD_Dataset; another place is an argument,
`experiments/cells.py:path/to/BCCD`. The column `majority` is each kind's most frequent number in
training. What was found, and which runs were made, is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is the folder of BCCD."""
    made = config.load(str(Path(__file__).with_name("nlvr.py")))
    made.steps = 600
    with made.unlocked():
        root = argument or "../shared/data/bccd/BCCD"
        made.data.source = {"name": "bccd", "root": root, "task": "count"}
    made.data.size = 96
    made.data.cache = 615  # all training records: decoding a picture costs more than a step
    made.data.tokenizer.length = 12
    made.evaluators.answers.count = 216
    made.evaluators.progress.count = 261
    return made


def sweep() -> dict:
    rows = {"picture and question": {}, "question only": {"objective.blind": True}}
    return {"rows": rows, "seeds": (0, 1)}


def table() -> dict:
    columns = {"all": "", "red": "/red blood cell", "white": "/white blood cell"}
    columns |= {"platelets": "/platelet"}
    return {
        **{k: {"metric": f"test/answers{v}", "percent": True} for k, v in columns.items()},
        "majority": {"metric": "test/majority", "percent": True},
    }
