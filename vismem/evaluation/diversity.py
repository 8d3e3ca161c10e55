"""Whether a vague text is drawn in many ways: distinct scenes, told apart by the world's oracle;
and on an encoder, how far drawings lie apart and how much of the world's own scenes they reach."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from vismem import worlds
from vismem.data import DataConfig
from vismem.drawing.artist import Artist
from vismem.errors import UserError
from vismem.evaluation.distances import neighbourhoods, tables
from vismem.evaluation.encoder import Encoder, FindCritic
from vismem.worlds import oracle
from vismem.worlds.captions import ninth, varied
from vismem.worlds.render import render
from vismem.worlds.scene import Preset, Scene, sample_scene

POOL = 4096  # scenes of the world, among which each caption finds some that it holds of


class Diversity:
    """Draws every vague caption several times, and counts what is right and what is different.

    Args:
      artist: draws.
      data: the run's data, whose source must be a world.
      seed: of the noise.
      captions: how many. drawings: of each.
      mesh: of the run, and critic, of any: for the encoder.
      encoder: on whose features distances are measured (evaluation/encoder.py); None for none.
      nearest: the neighbour that a ball reaches to, in recall and coverage.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        captions: int = 32,
        drawings: int = 16,
        mesh: Mesh | None = None,
        critic: FindCritic | None = None,
        encoder: Mapping[str, Any] | None = None,
        nearest: int = 3,
    ):
        if data.source.get("name") != "world":
            found = data.source.get("name")
            raise UserError(f"evaluators: diversity reads worlds only; data.source.name={found!r}")
        if encoder and not 1 <= nearest < drawings:
            raise UserError(f"evaluators: diversity: nearest={nearest} of {drawings} drawings")
        world = worlds.world(data.source.get("preset", "default"))
        self.attributes = varied(world.preset)
        lang = data.source.get("lang", "en")
        self.examples = [world.example("test", i, lang, "vague") for i in range(captions)]
        self.texts = [example.text for example in self.examples for _ in range(drawings)]
        self.artist, self.seed, self.drawings, self.nearest = artist, seed, drawings, nearest
        self.encoder = encoder and Encoder(encoder, data.size, mesh, critic)
        # For each caption features of the world's pictures, [drawings, E], if it has as many.
        self.real: list[np.ndarray | None] = []
        if self.encoder:
            pool = list(scenes(world.preset, POOL))
            for example in self.examples:
                found = [scene for scene in pool if example.claim.holds(scene)][:drawings]
                pictures = [render(scene, data.size) for scene in found]
                enough = len(found) == drawings
                self.real.append(self.encoder(np.stack(pictures)) if enough else None)

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """The numbers of `measure`."""
        drawing = self.artist.draw(self.texts, params=state["ema"], seed=self.seed)
        return self.measure(drawing.images)

    def measure(self, images: np.ndarray) -> dict[str, float]:
        """Means over captions, of the drawings of which the caption holds.

        Args:
          images: uint8 [captions * drawings, H, W, 3], of `texts`.

        Returns:
          `diversity/exact_claim`: their share; `diversity/distinct`: how many different scenes they
          show, of those of which the oracle can tell all (`content`). With an encoder:
          `diversity/distance, ENCODER`, between two of them, over captions with two; and over
          captions of which the world's pool has as many scenes as there are drawings, `recall` and
          `coverage` of those scenes (evaluation/distances.py), 0 where too few drawings are right
          to have `nearest` neighbours. A mean over no captions is left out.
        """
        shown = [oracle.read(image) for image in images]
        right, distinct = [], []  # bool [drawings] for every caption; and a number
        for example, some in zip(self.examples, by_caption(shown, self.drawings)):
            right.append(np.array([example.claim.holds(scene) for scene in some]))
            held = (scene for scene, holds in zip(some, right[-1]) if holds)
            distinct.append(len({content(scene, self.attributes) for scene in held} - {None}))
        numbers = {"exact_claim": np.mean(right), "distinct": np.mean(distinct)}
        if self.encoder:
            features = by_caption(self.encoder(images), self.drawings)
            found = self.distances([x[holds] for x, holds in zip(features, right)])
            numbers |= {f"{name}, {self.encoder.label}": x for name, x in found.items()}
        return {f"diversity/{name}": float(x) for name, x in numbers.items()}

    def distances(self, drawn: list[np.ndarray]) -> dict[str, float]:
        """Distance, recall and coverage of each caption's right drawings, of features [n, E]."""
        found: dict[str, list[float]] = {"distance": [], "recall": [], "coverage": []}
        for real, x in zip(self.real, drawn):
            if len(x) > 1:
                total = sum(distances.sum() for _, distances in tables(x, x))
                found["distance"].append(total / (len(x) * (len(x) - 1)))
            if real is not None:
                enough = len(x) > self.nearest
                near = neighbourhoods(real, x, self.nearest) if enough else {}
                for name in ("recall", "coverage"):
                    found[name].append(near.get(name, 0.0))
        return {name: np.mean(x) for name, x in found.items() if x}


def by_caption(x: Any, drawings: int) -> list[Any]:
    """Cuts what was made of all drawings into what belongs to each caption."""
    return [x[start : start + drawings] for start in range(0, len(x), drawings)]


def scenes(preset: Preset, count: int) -> Iterator[Scene]:
    """Scenes as a world samples them, whatever split they belong to; always the same."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield sample_scene(rng, preset, int(rng.integers(1, preset.most + 1)))


def content(scene: Scene, attributes: Sequence[str]) -> tuple[tuple[str, ...], ...] | None:
    """What a scene shows: its things by these attributes and their ninths, whichever comes first;
    None if one cannot be told, or every torn shape and mixed colour would be a scene of its own.

    Args:
      attributes: in which things of the world differ. Of another, that they all have in common, a
        reading is noise: solid things that are mottled look striped.
    """
    things = [(*(getattr(t, a) for a in attributes), ninth(t)) for t in scene.things]
    return None if any(None in thing for thing in things) else tuple(sorted(things))
