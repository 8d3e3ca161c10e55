"""Whether a drawing can be talked right: the oracle says what is wrong, one thing at a time."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vismem import worlds
from vismem.data import DataConfig
from vismem.drawing import sheets
from vismem.drawing.artist import Artist, Drawing
from vismem.errors import UserError
from vismem.worlds import oracle
from vismem.worlds.corrections import correction


class Corrections:
    """Draws the last turn of held-out conversations, and corrects the drawing.

    The turns before it begin with the true pictures, so that what is wrong is the last turn's own,
    or comes of memory, which has seen what they drew.
    Then the oracle reads the drawing and, where the instruction's claim does not hold, names one
    thing that is wrong; the next drawing begins with that picture and the memory of all that was
    said. `exact_claim, n corrections` is the share of conversations in which the claim holds of a
    drawing after n of them or fewer.

    Args:
      artist: draws.
      data: the run's data, whose source must be a dialogue.
      seed: of the noise, and of which fault is named.
      split: of the dialogue.
      count: conversations.
      turns: of every conversation; as in the data, or the most that there are, if None.
      corrections: the most of one drawing.
    """

    MAY_BE_0 = ("corrections",)

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        split: str = "test",
        count: int = 256,
        turns: int | None = None,
        corrections: int = 3,
    ):
        source = data.source
        if source.get("name") != "dialogue":
            raise UserError(f"evaluators: corrections: data.source.name={source.get('name')!r}")
        dialogue = worlds.dialogue(source.get("preset", "tiny"))
        turns = turns or source.get("turns") or dialogue.form.turns[1]
        lang = source.get("lang", "en")
        self.talks = [dialogue.example(split, i, lang, turns) for i in range(count)]
        self.artist, self.seed, self.size = artist, seed, data.size
        self.split, self.turns, self.corrections = split, turns, corrections

    def run(self, state: Mapping[str, Any]) -> dict[str, float | Image.Image]:
        """Shares in [0, 1] by name, "test/exact_claim, 1 correction" and so on; a plot of them; and
        a sheet of drawings that were wrong at first, each with its corrections in a row."""
        carry = None
        for i in range(self.turns):
            texts = [talk.texts[i] for talk in self.talks]
            drawing = self._draw(state, texts, i, carry)
            truth = np.stack([talk.image(i, self.size) for talk in self.talks])
            carry = drawing.carry.replace(estimate=truth.astype(np.float32) / 127.5 - 1)
        steps, shares, right = [(texts, drawing.images)], [], np.zeros(len(self.talks), bool)
        for n in range(self.corrections + 1):
            said = self._corrected(drawing.images, n)
            right |= np.array([text is None for text in said])
            shares.append(float(right.mean()))
            if n < self.corrections:
                # What is right is drawn again as well, and not looked at.
                texts = [text or last for text, last in zip(said, texts)]
                drawing = self._draw(state, texts, self.turns + n, drawing.carry)
                steps.append((texts, drawing.images))
            if n == 0:
                wrong = np.flatnonzero(~right)[:8]
        results: dict[str, Any] = {}
        for n, share in enumerate(shares):
            results[f"{self.split}/exact_claim, {n} correction{'s' * (n != 1)}"] = share
        results[f"{self.split} corrections"] = plot(shares)
        if len(wrong):
            images = np.stack([images[wrong] for _, images in steps], axis=1)
            texts = [texts[row] for row in wrong for texts, _ in steps]
            flat = images.reshape(-1, *images.shape[2:])
            results[f"{self.split} corrected"] = sheets.grid(flat, texts, columns=len(steps))
        return results

    def _draw(self, state: Mapping[str, Any], texts: list[str], turn: int, carry: Any) -> Drawing:
        return self.artist.draw(texts, params=state["ema"], seed=self.seed + turn, carry=carry)

    def _corrected(self, images: np.ndarray, n: int) -> list[str | None]:
        """What the oracle says of each drawing of a last turn; None where nothing is wrong."""
        return [
            correction(talk.claims[-1], oracle.read(image), talk.lang, self.seed + n)
            for talk, image in zip(self.talks, images)
        ]


def plot(shares: list[float]) -> Image.Image:
    """The share of right drawings after 0, 1, ... corrections."""
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(shares)), shares, marker="o", linewidth=1.2)
    axes.set(xlabel="corrections", ylabel="exact claim", ylim=(-0.02, 1.02))
    axes.set_xticks(range(len(shares)))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return Image.open(file)
