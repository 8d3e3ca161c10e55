"""Whether a vague text is drawn in many ways: distinct scenes, told apart by the world's oracle."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vismem import worlds
from vismem.data import DataConfig
from vismem.drawing.artist import Artist
from vismem.errors import UserError
from vismem.worlds import oracle
from vismem.worlds.captions import ninth
from vismem.worlds.scene import Scene


class Diversity:
    """Draws every vague caption several times, and counts what is right and what is different.

    Args:
      artist: draws.
      data: the run's data, whose source must be a world.
      seed: of the noise.
      captions: how many. drawings: of each.
    """

    def __init__(
        self, *, artist: Artist, data: DataConfig, seed: int, captions: int = 32, drawings: int = 16
    ):
        if data.source.get("name") != "world":
            found = data.source.get("name")
            raise UserError(f"evaluators: diversity reads worlds only; data.source.name={found!r}")
        world = worlds.world(data.source.get("preset", "default"))
        lang = data.source.get("lang", "en")
        self.examples = [world.example("test", i, lang, "vague") for i in range(captions)]
        self.artist, self.seed, self.drawings = artist, seed, drawings

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Means over captions: `diversity/exact_claim`, the share of drawings of which the caption
        holds, and `diversity/distinct`, how many different scenes those drawings show."""
        texts = [example.text for example in self.examples for _ in range(self.drawings)]
        images = self.artist.draw(texts, params=state["ema"], seed=self.seed).images
        scenes = iter(map(oracle.read, images))
        held, distinct = [], []
        for example in self.examples:
            right = [s for _, s in zip(range(self.drawings), scenes) if example.claim.holds(s)]
            held.append(len(right) / self.drawings)
            distinct.append(len(set(map(content, right))))
        return {
            "diversity/exact_claim": float(np.mean(held)),
            "diversity/distinct": float(np.mean(distinct)),
        }


def content(scene: Scene) -> tuple[tuple[str, ...], ...]:
    """What a scene shows: kinds and places of its things, whichever comes first."""
    things = ((t.color, t.shape, t.size, t.fill, ninth(t)) for t in scene.things)
    return tuple(sorted(tuple(map(str, thing)) for thing in things))
