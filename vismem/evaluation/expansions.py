"""Whether expansions keep what their requests ask for: computed by the world, not judged."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vismem import worlds
from vismem.data import DataConfig
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.evaluation.expander import TEMPERATURE, Expander
from vismem.objectives.expand import Expand
from vismem.worlds.implication import implies


class Expansions:
    """Expands the vague captions of held-out scenes, several times each.

    `implied` is the share of expansions that are full descriptions in the world's own language from
    which the request follows (worlds/implication.py), `different` the share of a request's
    expansions that differ from those before them. Requests that no full description of their own
    scene settles are left out.

    Args:
      objective, tokenizer: the run's.
      data: the run's data, whose source must be `expansions`.
      seed: of the sampling.
      split: of the world. count: requests. samples: expansions of each.
      temperature: of the sampling.
    """

    def __init__(
        self,
        *,
        objective: Expand,
        tokenizer: Tokenizer,
        data: DataConfig,
        seed: int,
        split: str = "test",
        count: int = 256,
        samples: int = 4,
        temperature: float = TEMPERATURE,
    ):
        source = data.source
        if source.get("name") != "expansions":
            raise UserError(f"evaluators: expansions: data.source.name={source.get('name')!r}")
        self.world = worlds.world(source.get("preset", "default"))
        options = {"lang": source.get("lang", "en"), "style": "vague", "count": source.get("count")}
        requests = (self.world.example(split, i, **options) for i in range(2 * count))
        self.requests = [example for example in requests if example.expansion()][:count]
        self.expander = Expander(objective, tokenizer)
        self.split, self.seed = split, seed
        self.samples, self.temperature = samples, temperature

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`test/implied` and `test/different`; the first by language too, where there are two:
        `test/implied, zh`."""
        requests = [example for example in self.requests for _ in range(self.samples)]
        texts = self.expander.expand(
            [example.text for example in requests],
            params=state["ema"],
            seed=self.seed,
            temperature=self.temperature,
        )
        implied = [self.implied(text, example) for text, example in zip(texts, requests)]
        groups = np.reshape(texts, (-1, self.samples))
        different = np.mean([len(set(group)) / self.samples for group in groups])
        numbers = {"implied": np.mean(implied), "different": different}
        spoken = np.array([example.lang for example in requests])
        if len(languages := np.unique(spoken)) > 1:
            for lang in languages:
                numbers[f"implied, {lang}"] = np.mean(implied, where=spoken == lang)
        return {f"{self.split}/{name}": float(x) for name, x in numbers.items()}

    def implied(self, text: str, request: worlds.Example) -> bool:
        """Whether a text is a full description from which the request follows."""
        try:
            claim = self.world.parse(text, request.lang)
        except UserError:  # the language cannot read it
            return False
        return implies(claim, request.claim, self.world.preset)
