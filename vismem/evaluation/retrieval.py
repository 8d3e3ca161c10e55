"""Search both ways: the texts of a picture among all texts, the pictures of a text among all
pictures.
"""

from collections.abc import Mapping
from itertools import count as numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vismem import data as examples
from vismem import worlds
from vismem.data import DataConfig, Example
from vismem.data.tokenizers import Tokenizer
from vismem.evaluation.critic import Critic
from vismem.objectives.base import Objective

BLOCK = 128  # queries compared with everything at once


class Retrieval:
    """Recall and median rank over pictures spread over a split, and all their texts.

    A picture may have several texts, and a text that several pictures have is right for each;
    pictures that are equal, pixel for pixel, are one. Of a world they are the first ones, and the
    captions are fixed ones, each true of one of the pictures only.

    Args:
      objective, tokenizer, data: the run's.
      split: of the source. count: pictures at most.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        tokenizer: Tokenizer,
        data: DataConfig,
        split: str = "test",
        count: int = 1000,
    ):
        self.critic, self.split = Critic(objective, tokenizer), split
        if data.source["name"] == "world":
            chosen = unambiguous(data, split, count)
        else:
            chosen = examples.some(data, split, count, spread=True)
        images: dict[bytes, np.ndarray] = {}
        captions: dict[bytes, set[str]] = {}
        for example in chosen:
            key = example["image"].tobytes()
            images[key] = example["image"]
            captions.setdefault(key, set()).update(example.get("captions", (example["text"],)))
        self.images, self.captions = list(images.values()), list(captions.values())

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """`test/text_to_image/recall@1` and so on, shares in [0, 1], and `.../median_rank`."""
        self.critic.params = state["ema"]
        texts = sorted({text for captions in self.captions for text in captions})
        known, most = {text: i for i, text in enumerate(texts)}, max(map(len, self.captions))
        owned = np.full((len(self.images), most), -1)
        for row, captions in zip(owned, self.captions):
            row[: len(captions)] = [known[text] for text in captions]
        names = np.arange(len(texts))[:, None]
        images, embedded = self.critic.images(self.images), self.critic.texts(texts)
        results = {}
        for way, found in (
            ("image_to_text", ranks(images, embedded, owned, names)),
            ("text_to_image", ranks(embedded, images, names, owned)),
        ):
            found, place = np.asarray(found), f"{self.split}/{way}"
            for most in (1, 5, 10):
                results[f"{place}/recall@{most}"] = float((found <= most).mean())
            results[f"{place}/median_rank"] = float(np.median(found))
        return results


@jax.jit
def ranks(queries: jax.Array, gallery: jax.Array, wanted: jax.Array, names: jax.Array) -> jax.Array:
    """The rank of the best right answer to each query, from 1; wrong answers win ties, and where
    embeddings are not finite. Products are in float32 on every device: near neighbours differ by
    less than what accelerators round to by default.

    Args:
      queries: [N, E]. gallery: [M, E].
      wanted: int [N, C], names of what a query is right for; -1 for none.
      names: int [M, D]: an answer is right if one of its names is wanted; -1 for none.

    Returns:
      int32 [N].
    """

    def rank(query: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, wanted = query
        scores = jnp.dot(gallery, x, precision="highest")
        right = ((names[:, None] == wanted[:, None]) & (names[:, None] >= 0)).any((1, 2))
        best = jnp.where(right, scores, -jnp.inf).max()
        return 1 + (~right & ~(scores < best)).sum()

    return jax.lax.map(rank, (queries, wanted), batch_size=BLOCK)


def unambiguous(data: DataConfig, split: str, count: int) -> list[Example]:
    """The first examples of a world whose captions each hold of one of their pictures only."""
    world = worlds.world(data.source.get("preset", "default"))
    lang = data.source.get("lang", "en")
    chosen: list[worlds.Example] = []
    alike: dict[Any, list[worlds.Example]] = {}  # fixed captions name all things of their picture
    for index in numbers():
        example = world.example(split, index, lang=lang, style="fixed")
        kinds = tuple(sorted((t.shape, t.color, t.size, t.fill) for t in example.scene.things))
        rivals = alike.setdefault((kinds, example.scene.background), [])
        if not any(a.claim.holds(b.scene) for r in rivals for a, b in ((r, example), (example, r))):
            rivals.append(example)
            chosen.append(example)
        if len(chosen) == count:
            return [{"image": e.image(data.size), "text": e.text} for e in chosen]
