"""Classification without training: the class whose name fits the picture best."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics

from vismem.data import DataConfig
from vismem.data.tokenizers import Tokenizer
from vismem.evaluation.classes import classes
from vismem.evaluation.critic import Critic
from vismem.objectives.base import Objective


class ZeroShot:
    """P(class | picture) = softmax over the classes' texts; of several texts of a class the mean
    embedding stands for it.

    Args:
      objective, tokenizer, data: the run's.
      split: of the source. count: pictures at most.
      templates: see classes.py.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        tokenizer: Tokenizer,
        data: DataConfig,
        split: str = "test",
        count: int = 1000,
        templates: tuple[str, ...] = ("{}", "a picture of {}"),
    ):
        self.critic, self.split = Critic(objective, tokenizer), split
        self.task = classes(data, split, count, templates)

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`test/zeroshot/top1` and so on, and `test/recall/CLASS`: see `scores`."""
        self.critic.params = state["ema"]
        embedded = self.critic.texts([text for prompts in self.task.prompts for text in prompts])
        ends = np.cumsum([len(prompts) for prompts in self.task.prompts])
        means = np.stack([of_class.mean(0) for of_class in np.split(embedded, ends[:-1])])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        found = scores(self.task.labels, self.critic.images(self.task.images) @ means.T)
        recalls = {self.task.names[c]: x for c, x in found.pop("recall").items()}
        results = {f"{self.split}/zeroshot/{name}": x for name, x in found.items()}
        return results | {f"{self.split}/recall/{name}": x for name, x in recalls.items()}


def scores(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """Of a classification, shares in [0, 1].

    Args:
      labels: int [N]. logits: [N, C].

    Returns:
      top1, top5; majority, the top1 of naming the most frequent class every time; macro_f1 over
      the classes that occur; recall: {class that occurs: its recall}.
    """
    order = np.argsort(-logits, axis=1, kind="stable")
    present, counts = np.unique(labels, return_counts=True)
    recalls = metrics.recall_score(labels, order[:, 0], labels=present, average=None)
    return {
        "top1": metrics.accuracy_score(labels, order[:, 0]),
        "top5": float((order[:, :5] == labels[:, None]).any(1).mean()),
        "majority": float(counts.max() / len(labels)),
        "macro_f1": metrics.f1_score(labels, order[:, 0], labels=present, average="macro"),
        "recall": dict(zip(present.tolist(), recalls.tolist())),
    }
