"""What the image encoder's features tell a linear classifier, of all examples and of a few."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vismem.data import DataConfig
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.evaluation.classes import classes
from vismem.evaluation.critic import Critic
from vismem.objectives.base import Objective


class Probe:
    """Logistic regression on the features of training pictures, tried on held-out ones.

    Args:
      objective, tokenizer, data, seed: the run's.
      split: that it is tried on. count: pictures at most.
      train: pictures of the train split.
      shots: pictures a class for few-shot classification, the mean of five draws each.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        tokenizer: Tokenizer,
        data: DataConfig,
        seed: int,
        split: str = "test",
        count: int = 1000,
        train: int = 3000,
        shots: tuple[int, ...] = (1, 5, 10),
    ):
        self.critic, self.split, self.seed = Critic(objective, tokenizer), split, seed
        self.shots, self.draws = shots, 5
        self.train = classes(data, "train", train, ("{}",))
        self.test = classes(data, split, count, ("{}",))
        self.given, self.wanted = (
            np.array(task.names)[task.labels] for task in (self.train, self.test)
        )
        if len(set(self.given)) < 2:
            raise UserError(f"evaluators: probe: one class alone, {str(self.given[0])!r}")
        if unknown := set(self.wanted) - set(self.given):
            raise UserError(
                f"evaluators: probe: no picture of {str(min(unknown))!r} among {len(self.given)} "
                f"of training; raise train={train}, or add some"
            )

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`test/probe/linear` and `test/probe/5_shot`: accuracies in [0, 1]."""
        self.critic.params = state["ema"]
        train, test = (self.critic.features(task.images) for task in (self.train, self.test))
        given = self.given

        def accuracy(rows: np.ndarray) -> float:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            return model.fit(train[rows], given[rows]).score(test, self.wanted)

        results = {"linear": accuracy(np.arange(len(given)))}
        rng = np.random.default_rng(self.seed)
        for shots in self.shots:
            tries = []
            for _ in range(self.draws):
                order = rng.permutation(len(given))
                rows = [order[given[order] == name][:shots] for name in np.unique(given)]
                tries.append(accuracy(np.concatenate(rows)))
            results[f"{shots}_shot"] = float(np.mean(tries))
        return {f"{self.split}/probe/{name}": float(x) for name, x in results.items()}
