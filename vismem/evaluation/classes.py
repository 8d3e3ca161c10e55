"""Pictures with classes, and texts that name the classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from vismem import data as examples
from vismem import worlds
from vismem.data import DataConfig
from vismem.errors import UserError
from vismem.worlds.claims import NINTHS, At, Claim, Kind
from vismem.worlds.world import LANGUAGES


@dataclass(frozen=True)
class Classes:
    """A classification task.

    Attributes:
      images: uint8 [H, W, 3] each.
      labels: int [N], places in `names`.
      names: of the classes.
      prompts: of each class, texts of pictures that show it.
      captions: of each picture, one text a class: what it would be called if it were of that.
    """

    images: Sequence[np.ndarray]
    labels: np.ndarray
    names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    captions: Sequence[tuple[str, ...]]


def classes(data: DataConfig, split: str, count: int, templates: Sequence[str]) -> Classes:
    """Pictures of a split with their classes.

    Of a world: the first pictures of one thing, whose class is its shape and colour; the prompts
    name it at every place and in every size. Of any other source: pictures spread over the split,
    and all classes that the source names; of one that names none, the labels of these pictures,
    each named by its first text.

    Args:
      data: the run's.
      count: pictures at most.
      templates: "{}" stands for a class's name; for other sources than worlds.
    """
    if data.source["name"] == "world":
        return of_world(data, split, count)
    if not templates:
        raise UserError("evaluators: templates=(): a class needs at least one, such as '{}'")
    for template in templates:
        try:
            if template.format("a") == template.format("b"):
                raise ValueError("no {}")
        except (ValueError, LookupError, AttributeError) as error:
            raise UserError(
                f"evaluators: template {template!r}: {{}} must stand for a class's name ({error})"
            ) from None
    found = examples.some(data, split, count, spread=True)
    if "label" not in found[0]:
        raise UserError(
            f"evaluators: the source {data.source['name']!r} has no labels to classify by"
        )
    known = getattr(examples.source(data, split), "classes", None)
    known = known or {example["label"]: example["text"] for example in reversed(found)}
    labels = sorted(known)
    if unknown := {example["label"] for example in found} - known.keys():
        raise UserError(
            f"evaluators: label {min(unknown)} of the {split} split is none of the source's "
            f"{len(labels)} classes; classify a split that has labels"
        )
    prompts = tuple(tuple(t.format(known[label]) for t in templates) for label in labels)
    return Classes(
        [example["image"] for example in found],
        np.array([labels.index(example["label"]) for example in found]),
        tuple(known[label] for label in labels),
        prompts,
        [tuple(texts[0] for texts in prompts)] * len(found),
    )


def of_world(data: DataConfig, split: str, count: int) -> Classes:
    """All pairs of shape and colour, those included that the split does not have."""
    world = worlds.world(data.source.get("preset", "default"))
    preset, lang = world.preset, data.source.get("lang", "en")
    language = LANGUAGES["en" if lang == "mixed" else lang]
    found = [world.example(split, i, style="fixed", count=1) for i in range(count)]
    things = [example.scene.things[0] for example in found]

    def express(claim: Claim) -> str:
        return language.express(claim, Random(0))

    def caption(claim: Claim, shape: str, color: str) -> str:
        [kind] = claim.things
        return express(replace(claim, things=(kind._replace(shape=shape, color=color),)))

    def prompts(shape: str, color: str) -> tuple[str, ...]:
        return tuple(
            express(Claim((Kind(shape, color, size, fill),), (At(0, place),)))
            for size in preset.sizes
            for fill in (preset.fills if len(preset.fills) > 1 else (None,))
            for place in NINTHS
        )

    return Classes(
        [example.image(data.size) for example in found],
        np.array([preset.pairs.index((thing.shape, thing.color)) for thing in things]),
        tuple(f"{color} {shape}" for shape, color in preset.pairs),
        tuple(prompts(*pair) for pair in preset.pairs),
        [tuple(caption(e.claim, *pair) for pair in preset.pairs) for e in found],
    )
