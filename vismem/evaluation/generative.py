"""The generator as a classifier: the class whose caption gives the lowest loss (Li et al. 2023,
"Your diffusion model is secretly a zero-shot classifier").
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vismem.data import DataConfig
from vismem.data.images import fit
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.evaluation.classes import classes
from vismem.evaluation.zeroshot import scores
from vismem.objectives.base import Objective, Params
from vismem.random import named_key


class Generative:
    """Classification by a model that draws.

    Args:
      objective, tokenizer, data, seed: the run's.
      split: of the source. count: pictures at most.
      draws: of noise and time a picture; all its captions are tried with the same.
      template: see classes.py.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        tokenizer: Tokenizer,
        data: DataConfig,
        seed: int,
        split: str = "test",
        count: int = 64,
        draws: int = 16,
        template: str = "{}",
    ):
        if not hasattr(objective, "advance") or len(objective.players) > 1:
            name = type(objective).__name__.lower()
            raise UserError(
                f"evaluators: generative: {name} has no loss of a picture with a text; leave it "
                "out, or take an objective that draws without a critic, such as flow"
            )
        self.split, self.task = split, classes(data, split, count, (template,))
        self.images = np.stack([fit(image, data.size) for image in self.task.images])
        self.tokens = np.stack(
            [[tokenizer.encode(text) for text in texts] for texts in self.task.captions]
        )
        base = named_key(jax.random.key(seed), "generative")
        [player] = objective.players

        def losses(params: Params, item: tuple[jax.Array, ...]) -> jax.Array:
            image, tokens, index = item

            def loss(tokens: jax.Array, key: jax.Array) -> jax.Array:
                batch = {"image": image[None], "tokens": tokens[None]}
                return objective.loss(player, params, batch, key, train=False)[0]

            keys = jax.random.split(jax.random.fold_in(base, index), draws)
            return jax.vmap(lambda key: jax.vmap(loss, (0, None))(tokens, key))(keys).mean(0)

        self.losses = jax.jit(
            lambda params, *items: jax.lax.map(lambda item: losses(params, item), items)
        )

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`test/generative/top1` and so on: see `zeroshot.scores`."""
        losses = self.losses(state["ema"], self.images, self.tokens, np.arange(len(self.images)))
        found = scores(self.task.labels, -np.asarray(losses))
        del found["recall"]  # of few pictures a class
        return {f"{self.split}/generative/{name}": x for name, x in found.items()}
