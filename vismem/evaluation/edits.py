"""Whether pictures are edited as asked: read back by the oracle, or compared with the truth."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from vismem import worlds
from vismem.data import DataConfig
from vismem.data.edits import DAMAGES, shown
from vismem.drawing import sheets
from vismem.drawing.artist import Artist
from vismem.errors import UserError
from vismem.worlds import oracle
from vismem.worlds.edits import KINDS, Edit
from vismem.worlds.render import render
from vismem.worlds.scene import REACH, SIZES


class EditScores:
    """Edits held-out pictures.

    By kind (worlds/edits.py): of all but "restore", `exact_claim`, the share of drawings in which
    what was asked for holds, for "inpaint" inside the mask; `change_outside`, by how much of 255
    pixels change that should not: those outside the mask, or those of things that an instruction
    left alone. Of "restore", `psnr` in dB and `ssim` against the picture as it was before it was
    spoilt, for all pictures and by damage, and of the spoilt picture itself as "input psnr" and
    "input ssim".

    Args:
      artist: draws.
      data: the run's data, whose source must be edits.
      seed: of the noise.
      split: of the edits.
      count: edits of every kind that the source has.
    """

    def __init__(
        self,
        *,
        artist: Artist,
        data: DataConfig,
        seed: int,
        split: str = "test",
        count: int = 256,
    ):
        source = data.source
        if source.get("name") != "edits":
            raise UserError(f"evaluators: edits: data.source.name={source.get('name')!r}")
        edits, lang = worlds.Edits(), source.get("lang", "en")
        kinds = source.get("kinds") or dict.fromkeys(KINDS, 1.0)
        kinds = [kind for kind, share in kinds.items() if share]
        self.edits = {k: [edits.example(split, i, k, lang) for i in range(count)] for k in kinds}
        self.artist, self.seed, self.size, self.split = artist, seed, data.size, split
        if "restore" in self.edits:
            similarity()  # whether the library is there shows before the training

    def run(self, state: Mapping[str, Any]) -> dict[str, float | Image.Image]:
        """Numbers by name, "test/inpaint/exact_claim" and so on, and a sheet of every kind: what
        was shown, and beside it what was drawn."""
        results: dict[str, Any] = {}
        for kind, edits in self.edits.items():
            given = [shown(edit, self.size, i) for i, edit in enumerate(edits)]
            pictures, kept = map(np.stack, zip(*given))
            drawing = self.artist.draw(
                [edit.text for edit in edits],
                params=state["ema"],
                seed=self.seed,
                carry=self.artist.open(pictures, state["ema"]),
                kept=kept,
            )
            drawn = drawing.images
            score = restored if kind == "restore" else obeyed
            numbers = score(edits, pictures, drawn, kept)
            results |= {f"{self.split}/{kind}/{name}": x for name, x in numbers.items()}
            pairs = np.stack([pictures, drawn], axis=1)[:8].reshape(-1, *drawn.shape[1:])
            texts = [text for edit in edits[:8] for text in (edit.text, "drawn")]
            results[f"{self.split} {kind}"] = sheets.grid(pairs, texts, columns=4)
        return results


def obeyed(
    edits: list[Edit], pictures: np.ndarray, drawn: np.ndarray, kept: np.ndarray
) -> dict[str, float]:
    """`exact_claim` and `change_outside`.

    Args:
      pictures, drawn: uint8 [N, S, S, 3], before and after.
      kept: bool [N, S, S], outside the masks.
    """
    held = [edit.holds(oracle.read(image)) for edit, image in zip(edits, drawn)]
    change = np.abs(drawn.astype(int) - pictures).mean(-1)
    changes = []
    for edit, moved, outside in zip(edits, change, kept):
        same = outside if outside.any() else untouched(edit, len(outside))
        if same.any():
            changes.append(moved[same].mean())
    numbers = {"exact_claim": float(np.mean(held))}
    return numbers | ({"change_outside": float(np.mean(changes))} if changes else {})


def untouched(edit: Edit, size: int) -> np.ndarray:
    """bool [size, size], the boxes of the things that an edit leaves as they are, but for what
    changes in them all the same: a background, or a thing that comes near."""
    mask = np.zeros((size, size), bool)
    for thing in set(edit.before.things) & set(edit.after.things):
        left, up, right, down = (SIZES[thing.size] * reach for reach in REACH[thing.shape][:4])
        top, bottom = (round(y * size) for y in (thing.y - up, thing.y + down))
        first, last = (round(x * size) for x in (thing.x - left, thing.x + right))
        mask[top:bottom, first:last] = True
    return mask & (render(edit.before, size) == render(edit.after, size)).all(-1)


def restored(
    edits: list[Edit], pictures: np.ndarray, drawn: np.ndarray, kept: np.ndarray
) -> dict[str, float]:
    """`psnr`, of the mean squared error over all pictures, and `ssim`, a mean over pictures; the
    same by damage; and those of what was shown."""
    peak_signal_noise_ratio, structural_similarity = similarity()
    truth = np.stack([render(edit.after, drawn.shape[1]) for edit in edits])
    damage = np.arange(len(edits)) % len(DAMAGES)
    there = enumerate(DAMAGES[: len(edits)])
    sets = {"": damage >= 0} | {f", {name}": damage == i for i, name in there}
    numbers = {}
    for of, images in (("", drawn), ("input ", pictures)):
        pairs = zip(truth, images)
        similar = [structural_similarity(*pair, channel_axis=-1, data_range=255) for pair in pairs]
        for among, rows in sets.items():
            psnr = peak_signal_noise_ratio(truth[rows], images[rows], data_range=255)
            numbers[f"{of}psnr{among}"] = float(psnr)
            numbers[f"{of}ssim{among}"] = float(np.mean(np.array(similar)[rows]))
    return numbers


def similarity() -> tuple[Callable, Callable]:
    """scikit-image's PSNR and SSIM."""
    try:
        from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    except ImportError:
        raise UserError(
            "evaluators: edits needs scikit-image; pip install 'vismem[edits]'"
        ) from None
    return peak_signal_noise_ratio, structural_similarity
