"""Whether drawings obey their texts: computed by the world's oracle, not judged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vismem import worlds
from vismem.data import DataConfig
from vismem.drawing.artist import Artist
from vismem.errors import UserError
from vismem.evaluation.expander import Expander
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
EXPANDED = "vague, expanded"


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
      expander: folder of a run of `expand`, "" for none. What it makes of the captions of "vague"
        is drawn as well, and held against the captions' own claims.
      open_expander: reads such a folder.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        sets: tuple[str, ...] = ("test", "compositional", "vague", "length"),
        count: int = 512,
        expander: str = "",
        open_expander: Callable[[str], Expander] | None = None,
    ):
        if data.source.get("name") != "world":
            found = data.source.get("name")
            raise UserError(f"evaluators: claims reads worlds only; data.source.name={found!r}")
        for name in sets:
            if name not in SETS:
                raise UserError(f"evaluators: claims has no set {name!r}; {nearest(name, SETS)}")
        if expander and "vague" not in sets:
            raise UserError(
                f"evaluators: claims: expander={expander!r}: the set 'vague' is left out"
            )
        opened = open_expander(expander) if expander else None
        world = worlds.world(data.source.get("preset", "default"))
        lang = data.source.get("lang", "en")
        self.examples: dict[str, list[Example]] = {}
        for name in sets:
            split, style, things = SETS[name]
            self.examples[name] = [
                world.example(split, i, lang=lang, style=style, count=things[i % len(things)])
                for i in range(count)
            ]
        self.texts = {name: [e.text for e in found] for name, found in self.examples.items()}
        if opened:
            self.examples[EXPANDED] = self.examples["vague"]
            self.texts[EXPANDED] = opened.expand(self.texts["vague"], seed=seed)
        self.artist, self.seed = artist, seed

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Numbers in [0, 1] by name, "test/exact_claim" and so on; with an expander "vague,
        expanded/exact_claim" too."""
        results = {}
        for name, examples in self.examples.items():
            drawing = self.artist.draw(self.texts[name], params=state["ema"], seed=self.seed)
            results |= {f"{name}/{key}": v for key, v in score(examples, drawing.images).items()}
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
