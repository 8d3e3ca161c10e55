"""Sessions: a conversation with an artist, with second thoughts; kept in a plain file.

A file is a zip of `session.json` (format, model, seed, sentences, choices) and of
`carries.safetensors` (for every turn, memory and picture of each candidate).
"""

import json
import os
import zipfile
from collections.abc import Sequence
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

FORMAT = 1


@dataclass(frozen=True)
class Turn:
    """What was said, and what was drawn.

    Attributes:
      text: the sentence.
      images: uint8 [N, H, W, 3], the candidates.
      carries: what each of them leaves to the next turn, N of them.
      liked: which one does, from 0.
    """

    text: str
    images: np.ndarray
    carries: Carry
    liked: int = 0


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
        return self.turns[-1].images[self.turns[-1].liked] if self.turns else None

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
        carry = kept = None
        if self.turns:
            last = self.turns[-1]
            carry = jax.tree.map(lambda x: x[[last.liked] * candidates], last.carries)
        if mask is not None:
            if not self.turns:
                raise UserError("mask: there is no picture yet that it could be of")
            masks.check(mask, self.picture)
            kept = ~np.stack([mask] * candidates)
        seed = turn_seed(self._seed, len(self.turns))
        drawing = self._artist.draw([text] * candidates, seed=seed, carry=carry, kept=kept)
        self.turns.append(Turn(text, drawing.images, drawing.carry))
        return drawing.images

    def like(self, number: int) -> np.ndarray:
        """Chooses among the last candidates, from 1: memory goes on from the chosen one. Returns
        it, uint8 [H, W, 3]."""
        if not self.turns:
            raise UserError("like: nothing has been drawn yet")
        count = len(self.turns[-1].images)
        if not 1 <= number <= count:
            raise UserError(f"like: {number}: there are candidates 1 to {count}")
        self.turns[-1] = replace(self.turns[-1], liked=number - 1)
        return self.picture

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
        turns = [
            Turn(
                turn["text"],
                arrays[f"{i}/images"],
                Carry(arrays[f"{i}/memory"], arrays[f"{i}/estimate"]),
                turn["liked"],
            )
            for i, turn in enumerate(about["turns"])
        ]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a saved session, or a damaged one ({error})") from None
    if form != FORMAT:
        raise UserError(f"{path}: a session of format {form}; this version reads {FORMAT}")
    if model != fingerprint(artist.params):
        raise UserError(f"{path}: a session with another model; resume it with the run it is of")
    return Session(artist, seed, turns)


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
