"""A captioner learns to answer questions about pictures of the tiny world.

    vismem train experiments/questions.py
    vismem ask runs/questions picture.png "how many red circles are there?"

What to expect is in experiments/RESULTS.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError


def get_config(argument: str = "") -> ConfigDict:
    """The config; there is no argument."""
    if argument:
        raise UserError(f"questions.py:{argument}: there is no argument")
    made = config.load(str(Path(__file__).with_name("captions.py")))
    made.data.source = {"name": "questions", "preset": "tiny", "lang": "en"}
    made.steps = 6_000  # at 4,000 all kinds but relations still rose
    made.data.tokenizer.length = 16
    made.objective.length = 5  # "in the top left", and its end
    # Finding what a question asks about takes more steps where patches and words are together.
    made.vision.layers, made.text.layers = 2, 4
    # T5 does not divide its attention's logits by sqrt(head_dim): its queries begin smaller by as
    # much, and so must their steps be.
    made.optimizer.lr_factors = (("/text_model/.*/query/kernel", made.text.head_dim**-0.5),)
    made.evaluators = {
        "loss": {"name": "loss", "every": 1_000, "count": 512},
        "progress": {"name": "answers", "every": 1_000, "splits": ("val",), "count": 512},
        "answers": {
            "name": "answers",
            "every": 0,
            "splits": ("test", "compositional"),
            "count": 2_000,
        },
    }
    return made
