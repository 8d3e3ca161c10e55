"""Sessions: a conversation with an artist, with second thoughts; kept in a plain file.

A file is a zip of `session.json` (format, model, seed, sentences, choices) and of
`carries.safetensors` (for every turn, memory and picture of each candidate, and the mask).
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from vismem.drawing import masks
from vismem.errors import UserError
from vismem.models.generator import Carry
from vismem.objectives.base import fingerprint

if TYPE_CHECKING:  # it imports this module
    from vismem.drawing.artist import Artist, Drawing

FORMAT = 2
# What reading a damaged file may raise: zipfile a RuntimeError, if it is encrypted or packed in an
# unknown way.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError),
    *(SafetensorError, ValueError, KeyError, TypeError),
)


@dataclass(frozen=True)
class Turn:
    """What was said, and what was drawn.

    Attributes:
      text: the sentence.
      images: uint8 [N, H, W, 3], the candidates.
      carries: what each of them leaves to the next turn, N of them.
      liked: which one does, from 0.
      mask: bool [H, W], the only pixels that could change; None for all.
    """

    text: str
    images: np.ndarray
    carries: Carry
    liked: int = 0
    mask: np.ndarray | None = None

    @property
    def picture(self) -> np.ndarray:
        """The chosen one, uint8 [H, W, 3]."""
        return self.images[self.liked]


class Session:
    """A conversation: every sentence changes the picture, and the memory of all before.

    The same artist, seed and sentences give the same pictures, also where the conversation was
    saved and resumed between two of them, or a sentence taken back and said again.

    Attributes:
      turns: from the first to the last.
    """

    def __init__(self, artist: "Artist", seed: int = 0, turns: Sequence[Turn] = ()):
        self._artist, self._seed, self.turns = artist, seed, list(turns)

    @property
    def picture(self) -> np.ndarray | None:
        """The picture as it is now, uint8 [H, W, 3]; None before the first turn."""
        return self.turns[-1].picture if self.turns else None

    def say(self, text: str, candidates: int = 1, mask: np.ndarray | None = None) -> np.ndarray:
        """Draws what comes next.

        Args:
          text: an instruction, or what is wrong with the picture.
          candidates: how many drawings to choose from; the first counts until `like` says another.
          mask: bool [H, W], the only pixels that may change; not in a first turn.

        Returns:
          uint8 [candidates, H, W, 3].
        """
        if candidates < 1:
            raise UserError(f"candidates={candidates}: must be at least 1")
        turn = self._draw(self.turns, text, candidates, mask)
        self.turns.append(turn)
        return turn.images

    def like(self, number: int) -> np.ndarray:
        """Chooses among the last candidates, from 1: memory goes on from the chosen one. If there
        are fewer, more are drawn; those that there are stay. Returns it, uint8 [H, W, 3]."""
        if not self.turns:
            raise UserError("like: nothing has been drawn yet")
        if number < 1:
            raise UserError(f"like: {number}: the candidates are counted from 1")
        turn = self.turns[-1]
        if number > len(turn.images):
            more = self._draw(self.turns[:-1], turn.text, number, turn.mask)

            def join(old: np.ndarray, new: np.ndarray) -> np.ndarray:
                return np.concatenate([old, new[len(old) :]])

            images = join(turn.images, more.images)
            turn = replace(
                turn, images=images, carries=jax.tree.map(join, turn.carries, more.carries)
            )
        self.turns[-1] = replace(turn, liked=number - 1)
        return self.picture

    def _draw(
        self, before: Sequence[Turn], text: str, candidates: int, mask: np.ndarray | None
    ) -> Turn:
        """The turn that comes after others."""
        carry = kept = None
        if before:
            last = before[-1]
            carry = jax.tree.map(lambda x: x[[last.liked] * candidates], last.carries)
        if mask is not None:
            if not before:
                raise UserError("mask: there is no picture yet that it could be of")
            masks.check(mask, before[-1].picture)
            kept = ~np.stack([mask] * candidates)
        seed = turn_seed(self._seed, len(before))
        drawing = self._artist.draw([text] * candidates, seed=seed, carry=carry, kept=kept)
        return Turn(text, drawing.images, drawing.carry, mask=mask)

    def undo(self, turns: int = 1) -> None:
        """Takes the last turns back: from picture and memory."""
        if not 1 <= turns <= len(self.turns):
            raise UserError(f"undo: {turns}: {len(self.turns)} turns have been drawn")
        del self.turns[-turns:]

    def branch(self) -> "Session":
        """A copy that goes its own way."""
        return Session(self._artist, self._seed, self.turns)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the conversation to a file, whole or not at all."""
        path = Path(path)
        if path.is_dir():
            raise UserError(f"{path}: a folder; name a file in it")
        about = {
            "format": FORMAT,
            "model": fingerprint(self._artist.params),
            "seed": self._seed,
            "turns": [{"text": turn.text, "liked": turn.liked} for turn in self.turns],
        }
        arrays = {}
        for i, turn in enumerate(self.turns):
            arrays[f"{i}/images"] = turn.images
            arrays[f"{i}/memory"] = np.asarray(turn.carries.memory)
            arrays[f"{i}/estimate"] = np.asarray(turn.carries.estimate)
            if turn.mask is not None:
                arrays[f"{i}/mask"] = turn.mask
        # Bytes are written as they lie in memory, where a mask may be the transpose of another.
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        partial = path.with_name(f".{path.name}.partial")
        try:
            with zipfile.ZipFile(partial, "w") as file:
                file.writestr("session.json", json.dumps(about, indent=2, ensure_ascii=False))
                file.writestr("carries.safetensors", write_tensors(arrays))
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def load(artist: "Artist", path: str | os.PathLike) -> Session:
    """The conversation that `Session.save` wrote, with the artist it was led with."""
    try:
        with zipfile.ZipFile(path) as file:
            about = json.loads(file.read("session.json"))
            arrays = read_tensors(file.read("carries.safetensors"))
        form, model, seed = about["format"], about["model"], about["seed"]
        if type(seed) is not int or seed < 0:
            raise ValueError(f"seed is {seed!r}")
        turns = [_turn(turn, arrays, i) for i, turn in enumerate(about["turns"])]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except DAMAGE as error:
        raise UserError(f"{path}: not a saved session, or a damaged one ({error})") from None
    if form != FORMAT:
        raise UserError(f"{path}: a session of format {form}; this version reads {FORMAT}")
    if model != fingerprint(artist.params):
        raise UserError(f"{path}: a session with another model; resume it with the run it is of")
    return Session(artist, seed, turns)


def _turn(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], i: int) -> Turn:
    """A turn of a file."""
    images, mask = arrays[f"{i}/images"], arrays.get(f"{i}/mask")
    carries = Carry(arrays[f"{i}/memory"], arrays[f"{i}/estimate"])
    text, liked = about["text"], about["liked"]
    if not isinstance(text, str):
        raise ValueError(f"turn {i + 1}: text is {text!r}")
    if type(liked) is not int or not 0 <= liked < len(images):
        raise ValueError(f"turn {i + 1}: liked is {liked!r}, of {len(images)} candidates")
    if not len(images) == len(carries.memory) == len(carries.estimate):
        raise ValueError(f"turn {i + 1}: pictures and memory do not fit each other")
    return Turn(text, images, carries, liked, mask)


def converse(artist: "Artist", texts: Sequence[str], seed: int = 0, **how: Any) -> list["Drawing"]:
    """The drawings of a conversation's turns, as a session of the seed makes them.

    Args:
      texts: one a turn.
      **how: of `Artist.draw`.
    """
    drawings, carry = [], None
    for i, text in enumerate(texts):
        drawings.append(artist.draw([text], seed=turn_seed(seed, i), carry=carry, **how))
        carry = drawings[-1].carry
    return drawings


def turn_seed(seed: int, turn: int) -> int:
    """The seed of a turn's noise in the conversation of a seed."""
    return int(np.random.SeedSequence((seed, turn)).generate_state(1)[0])
