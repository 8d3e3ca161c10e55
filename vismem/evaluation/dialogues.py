"""Whether conversations are followed: drawn turn by turn, and read back by the world's oracle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from vismem import worlds
from vismem.data import DataConfig
from vismem.drawing import sheets
from vismem.drawing.artist import Artist
from vismem.errors import UserError
from vismem.registry import nearest
from vismem.worlds import oracle
from vismem.worlds.dialogue import SPLITS
from vismem.worlds.scores import object_scores, relation_similarity


class Dialogues:
    """Draws held-out conversations and reads every turn's picture back.

    `exact_claim` is the share of turns after which the instruction's claim holds of the picture,
    which is that it was done and that all else is as it was: a mistake is carried along. It is also
    given for the turns that need memory, and for those that the canvas suffices for, with the ends
    of a 95% interval (bootstrap over conversations). `needs_memory` is the share of the former of
    all turns. `object_f1` and `rsim` are of the last picture against the last scene
    (worlds/scores.py).

    Args:
      artist: draws.
      data: the run's data, whose source must be a dialogue.
      seed: of the noise.
      split: of the dialogue.
      count: conversations.
      turns: of every conversation; as in the data if None.
      canvas: what each turn begins with: what was "drawn", or the "true" picture of the turn
        before, which parts a turn's own mistakes from those that the picture carries along; memory
        has seen what was drawn.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        split: str = "test",
        count: int = 500,
        turns: int | None = None,
        canvas: str = "drawn",
    ):
        source = data.source
        if source.get("name") != "dialogue":
            raise UserError(f"evaluators: dialogues: data.source.name={source.get('name')!r}")
        for name, value, known in (("split", split, SPLITS), ("canvas", canvas, ("drawn", "true"))):
            if value not in known:
                raise UserError(f"evaluators: dialogues: {name}={value!r}; {nearest(value, known)}")
        dialogue = worlds.dialogue(source.get("preset", "tiny"))
        turns = turns or source.get("turns")
        lang = source.get("lang", "en")
        self.talks = [dialogue.example(split, i, lang, turns) for i in range(count)]
        self.artist, self.seed, self.size = artist, seed, data.size
        self.canvas = canvas
        self.prefix = split if canvas == "drawn" else f"{split}, {canvas} canvas"

    def run(self, state: Mapping[str, Any]) -> dict[str, float | Image.Image]:
        """Numbers in [0, 1] by name, "test/exact_claim" and so on, and a sheet with a conversation
        a row."""
        count, longest = len(self.talks), max(len(talk.turns) for talk in self.talks)
        held, needs, exists = np.zeros((3, count, longest), bool)
        last = np.zeros((count, 2))  # object F1 and relation similarity
        pictures, carry = [], None
        for i in range(longest):
            # A conversation that is over says its last sentence again, unheard.
            texts = [talk.texts[min(i, len(talk.texts) - 1)] for talk in self.talks]
            drawing = self.artist.draw(texts, params=state["ema"], seed=self.seed + i, carry=carry)
            pictures.append(drawing.images)
            carry = drawing.carry
            if self.canvas == "true":
                carry = carry.replace(estimate=self._true(i))
            for row, talk in enumerate(self.talks):
                if i < len(talk.turns):
                    turn, read = talk.turns[i], oracle.read(drawing.images[row])
                    exists[row, i], needs[row, i] = True, turn.needs_memory
                    held[row, i] = turn.claim.holds(read)
                    f1 = object_scores(turn.scene, read).f1
                    last[row] = f1, relation_similarity(turn.scene, read)
        numbers = dict(zip(("object_f1", "rsim"), last.mean(0).tolist()))
        numbers["needs_memory"] = float(needs.sum() / exists.sum())
        numbers |= shares("exact_claim", held, exists)
        numbers |= shares("exact_claim, needs memory", held, exists & needs)
        numbers |= shares("exact_claim, canvas suffices", held, exists & ~needs)
        for i in range(longest):
            turn = held[:, i][exists[:, i]]
            numbers[f"exact_claim, turn {i + 1}"] = float(turn.mean()) if len(turn) else 0.0
        named = {f"{self.prefix}/{name}": value for name, value in numbers.items()}
        return named | {self.prefix.replace("/", " "): self._sheet(np.stack(pictures, axis=1))}

    def _true(self, turn: int) -> np.ndarray:
        """The true pictures after a turn, float32 [N, H, W, 3] in [-1, 1]."""
        images = [t.image(min(turn, len(t.turns) - 1), self.size) for t in self.talks]
        return np.stack(images).astype(np.float32) / 127.5 - 1

    def _sheet(self, pictures: np.ndarray, rows: int = 8) -> Image.Image:
        """Of pictures [N, T, H, W, 3], some conversations of the full length; "*" needs memory."""
        longest = pictures.shape[1]
        chosen = [i for i, talk in enumerate(self.talks) if len(talk.turns) == longest][:rows]
        texts = [
            turn.text + " *" * turn.needs_memory for i in chosen for turn in self.talks[i].turns
        ]
        images = pictures[chosen].reshape(-1, *pictures.shape[2:])
        return sheets.grid(images, texts, columns=longest)


def shares(name: str, held: np.ndarray, of: np.ndarray, draws: int = 2_000) -> dict[str, float]:
    """The share of `held` among the turns `of`, both bool [N, T], as `name`; and, as "name, low"
    and "name, high", the ends of its 95% interval: a bootstrap that draws whole conversations.
    Nothing where there are no such turns."""
    if not of.any():
        return {}
    good, all_ = (held & of).sum(1), of.sum(1)
    rows = np.random.default_rng(0).integers(len(of), size=(draws, len(of)))
    drawn = good[rows].sum(1) / np.maximum(all_[rows].sum(1), 1)
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    share = float(good.sum() / max(all_.sum(), 1))
    return {name: share, f"{name}, low": low, f"{name}, high": high}
