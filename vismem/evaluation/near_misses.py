"""Whether a caption is told from one that is just false: by attributes, places and relations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vismem import worlds
from vismem.data import DataConfig
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.evaluation.critic import Critic
from vismem.objectives.base import Objective
from vismem.worlds.claims import ATTRIBUTES, Claim


class NearMisses:
    """The critic on pairs of a caption and its near miss.

    Args:
      objective, tokenizer, data: the run's, whose source must be a world.
      split: of the world. style: of the captions, "fixed", "vague" or "any".
      count: pictures. each: near misses a picture.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        tokenizer: Tokenizer,
        data: DataConfig,
        split: str = "test",
        style: str = "fixed",
        count: int = 500,
        each: int = 4,
    ):
        if data.source["name"] != "world":
            raise UserError("evaluators: near_misses reads worlds only")
        self.critic, self.split, self.each = Critic(objective, tokenizer), split, each
        world = worlds.world(data.source.get("preset", "default"))
        lang = data.source.get("lang", "en")
        chosen = [world.example(split, i, lang=lang, style=style) for i in range(count)]
        misses = [[example.near_miss(i) for i in range(each)] for example in chosen]
        self.images = [example.image(data.size) for example in chosen]
        self.right = [example.text for example in chosen]
        self.wrong = [miss.text for found in misses for miss in found]
        self.kinds = np.array(
            [changed(e.claim, miss.claim) for e, found in zip(chosen, misses) for miss in found]
        )

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`test/near_miss`, the share of near misses that fit worse than the caption, and
        `test/near_miss/shape` and so on, by what was changed; "attributes" are all of those
        together.
        """
        self.critic.params = state["ema"]
        images = self.critic.images(self.images)
        right = (images * self.critic.texts(self.right)).sum(1)
        wrong = (np.repeat(images, self.each, axis=0) * self.critic.texts(self.wrong)).sum(1)
        told = np.repeat(right, self.each) > wrong
        place = f"{self.split}/near_miss"
        results = {place: float(told.mean())}
        results |= {f"{place}/{k}": float(told[self.kinds == k].mean()) for k in set(self.kinds)}
        attributes = np.isin(self.kinds, ATTRIBUTES)
        return results | {f"{place}/attributes": float(told[attributes].mean())}


def changed(claim: Claim, miss: Claim) -> str:
    """What a near miss changed: an attribute, or "at", "related", "count" or "background"."""
    differing = [
        attribute
        for before, after in zip(claim.things, miss.things)
        for attribute in ATTRIBUTES
        if getattr(before, attribute) != getattr(after, attribute)
    ]
    if sorted(claim.things, key=repr) == sorted(miss.things, key=repr):
        for before, after in zip(claim.clauses, miss.clauses):
            if before != after:
                return type(after).__name__.lower()
        return "related"  # two things have changed places
    return differing[0]
