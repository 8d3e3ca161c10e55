"""Whether drawings obey their texts: computed by the world's oracle, not judged."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vismem import worlds
from vismem.data import DataConfig
from vismem.drawing.artist import Artist
from vismem.errors import UserError
from vismem.registry import nearest
from vismem.worlds import oracle
from vismem.worlds.scores import object_scores, relation_similarity
from vismem.worlds.world import Example

SETS = {
    # name: (split, style of the captions, numbers of things beyond those of the preset's training)
    "val": ("val", "fixed", (1, 2)),
    "test": ("test", "fixed", (1, 2)),
    "compositional": ("compositional", "fixed", (1, 2)),
    "vague": ("test", "vague", (1, 2)),
    "length": ("length", "fixed", (None,)),
}


class Claims:
    """Draws held-out captions and reads the drawings back.

    For every set: `exact_claim`, the share of drawings of which the caption's claim holds;
    `object_f1` and `rsim`, the drawing against the scene its caption was made from
    (worlds/scores.py).

    Args:
      artist: draws.
      data: the run's data, whose source must be a world.
      seed: of the noise.
      sets: "val" or "test": captions of one and two things whose text fixes places or relations;
        "compositional": the same with pairs of shape and colour never seen in training; "vague":
        captions that leave things open; "length": one thing more than in training.
      count: captions a set.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        sets: tuple[str, ...] = ("test", "compositional", "vague", "length"),
        count: int = 512,
    ):
        if data.source.get("name") != "world":
            found = data.source.get("name")
            raise UserError(f"evaluators: claims reads worlds only; data.source.name={found!r}")
        for name in sets:
            if name not in SETS:
                raise UserError(f"evaluators: claims has no set {name!r}; {nearest(name, SETS)}")
        world = worlds.world(data.source.get("preset", "default"))
        lang = data.source.get("lang", "en")
        self.examples: dict[str, list[Example]] = {}
        for name in sets:
            split, style, things = SETS[name]
            self.examples[name] = [
                world.example(split, i, lang=lang, style=style, count=things[i % len(things)])
                for i in range(count)
            ]
        self.artist, self.seed = artist, seed

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Numbers in [0, 1] by name, "test/exact_claim" and so on."""
        results = {}
        for name, examples in self.examples.items():
            texts = [example.text for example in examples]
            images = self.artist.draw(texts, params=state["ema"], seed=self.seed).images
            results |= {f"{name}/{key}": v for key, v in score(examples, images).items()}
        return results


def score(examples: Sequence[Example], images: np.ndarray) -> dict[str, float]:
    """Means over drawings.

    Args:
      examples: what was to be drawn.
      images: uint8 [N, H, W, 3], what was drawn.
    """
    rows = []
    for example, image in zip(examples, images):
        scene = oracle.read(image)
        f1 = object_scores(example.scene, scene).f1
        rsim = relation_similarity(example.scene, scene)
        rows.append((example.claim.holds(scene), f1, rsim))
    return dict(zip(("exact_claim", "object_f1", "rsim"), np.mean(rows, axis=0).tolist()))
