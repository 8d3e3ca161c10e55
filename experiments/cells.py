"""How many cells of each kind a picture of blood shows: the captioner on BCCD, and what the
question alone gives away. And which kind a cell is: two towers, from nothing or with SqueezeNet
locked. Two seeds each.

    vismem sweep experiments/cells.py
    vismem table experiments/cells.py
    vismem sweep experiments/cells.py:classify      # lit.py says how to make runs/squeezenet
    vismem table experiments/cells.py:classify

`../shared/data/bccd/BCCD` is that folder of Shenggan/BCCD_Dataset; another place is an argument,
`experiments/cells.py:path/to/BCCD` or `experiments/cells.py:classify,path/to/BCCD`. The column
`majority` is each kind's most frequent number in training, or the share of the most frequent kind.
By the CPU time of a few steps training takes one core 24 minutes a run that counts, 2 and half a
minute a run that classifies. What was found, and which runs were made, is in
experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config

SQUEEZENET = {
    "vision": {"name": "pretrained", "folder": "runs/squeezenet"},
    "optimizer.freeze": (("vision_encoder/", True),),
    "data.size": 96,
    "data.augment": {},  # what is found is kept
    "data.cache_image": "runs/image_cache",
}


def get_config(argument: str = "") -> ConfigDict:
    """The config; `argument` is "", FOLDER, "classify" or "classify,FOLDER", that of BCCD."""
    task, root = parsed(argument)
    file = {"count": "nlvr.py", "classify": "towers.py"}[task]
    made = config.load(str(Path(__file__).with_name(file)))
    with made.unlocked():
        made.data.source = {"name": "bccd", "root": root, "task": task}
        made.data.augment = {}
    made.data.tokenizer.length = 12
    if task == "count":
        made.steps = 600
        made.data.augment = {"flip": {}}
        made.data.size = 96
        made.data.cache = 615  # all training records: decoding a picture costs more than a step
        # All there are: fewer are tested, but majorities are of as many training questions.
        made.evaluators.answers.count = made.evaluators.progress.count = 615
        return made
    made.steps = 300
    made.data.augment = {"flip": {}, "affine": {"rotate": 180.0}}
    made.data.cache = 3_000  # all of them, as above
    made.evaluators = {
        "progress": {"name": "zeroshot", "every": 100, "split": "val"},
        "zeroshot": {"name": "zeroshot"},
        "probe": {"name": "probe"},
    }
    return made


def parsed(argument: str) -> tuple[str, str]:
    """The source's task and folder."""
    first, _, rest = argument.partition(",")
    task, root = ("classify", rest) if first == "classify" else ("count", argument)
    return task, root or "../shared/data/bccd/BCCD"


def sweep(argument: str = "") -> dict:
    if parsed(argument)[0] == "classify":
        return {"rows": {"ViT from nothing": {}, "SqueezeNet, locked": SQUEEZENET}, "seeds": (0, 1)}
    rows = {"picture and question": {}, "question only": {"objective.blind": True}}
    return {"rows": rows, "seeds": (0, 1)}


def table(argument: str = "") -> dict:
    if parsed(argument)[0] == "classify":
        columns = {"zero-shot": "zeroshot/top1", "majority": "zeroshot/majority"}
        columns |= {"macro F1": "zeroshot/macro_f1", "linear probe": "probe/linear"}
        columns |= {f"{shots} shots": f"probe/{shots}_shot" for shots in (1, 5, 10)}
        kinds = ("red", "white")
        columns |= {f"recall, {kind}": f"recall/a {kind} blood cell" for kind in kinds}
        columns |= {"recall, platelets": "recall/a platelet"}
        return {k: {"metric": f"test/{v}", "percent": True} for k, v in columns.items()}
    columns = {"all": "", "red": "/red blood cell", "white": "/white blood cell"}
    columns |= {"platelets": "/platelet"}
    return {
        **{k: {"metric": f"test/answers{v}", "percent": True} for k, v in columns.items()},
        "majority": {"metric": "test/majority", "percent": True},
    }
