"""NLVR: natural sentences about pictures of three boxes, true or false.

Suhr et al., "A corpus of natural language for visual reasoning", ACL 2017; github.com/lil-lab/nlvr.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vismem.data import Example, MissingFiles
from vismem.data.images import read, resize
from vismem.errors import UserError

# Left edges of the three boxes, 100 px wide, in a picture of 400 x 100.
_BOXES = (0, 150, 300)
_GAP = 8  # between boxes: things are said to touch a box's edge
_ANSWERS = {"true": "yes", "false": "no"}


class NlvrSource:
    """A split by sentences of the files of one of NLVR's own splits.

    A record has `prompt`, the sentence, and `text`, "yes" or "no". Its picture is square: two boxes
    above and one below. Of every scene there are six pictures, the boxes in every order.

    Args:
      split: "train", "val" or "test": all pictures of a sentence are in one of them, by a hash.
      size: width and height of the pictures in pixels.
      root: the folder that holds `part`.
      part: NLVR's own split, "train", "dev" or "test"; each has labels.
      val, test: shares of the sentences that are held out.
    """

    def __init__(
        self,
        split: str,
        size: int,
        root: str,
        part: str = "dev",
        val: float = 0.1,
        test: float = 0.2,
    ):
        if split not in ("train", "val", "test"):
            raise UserError(f"data.source: nlvr has no {split!r} split; train, val and test only")
        if min(val, test) < 0 or val + test > 1:
            raise UserError(f"data.source.val={val}, test={test}: shares must be 0 to 1 together")
        listed = Path(root) / part / f"{part}.json"
        try:
            lines = listed.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            self._rows = [
                (
                    f"{row['directory']}/{part}-{row['identifier']}-{k}.png",
                    row["sentence"].strip(),
                    _ANSWERS[row["label"]],
                )
                for row in rows
                if _split(row["sentence"], val, test) == split
                for k in range(6)
            ]
        except FileNotFoundError:
            raise MissingFiles(f"{listed}: no such file; NLVR's repository holds it") from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{listed}: not NLVR's lines of JSON ({error})") from None
        self._images, self._size = str(Path(root) / part / "images"), size

    @staticmethod
    def blank(_: Mapping[str, Any]) -> Example:
        return {"prompt": "", "text": ""}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        name, sentence, answer = self._rows[index]
        return {"image": self._picture(name), "prompt": sentence, "text": answer}

    def text(self, index: int) -> str:
        """Sentence and answer, a line each, without decoding the picture."""
        _, sentence, answer = self._rows[index]
        return f"{sentence}\n{answer}"

    def _picture(self, name: str) -> np.ndarray:
        """The boxes in a square of white, two above and one below."""
        picture = read(self._images, name)
        if picture.shape[:2] != (100, 400):
            raise UserError(f"{name}: is {picture.shape[1]} x {picture.shape[0]}, not 400 x 100")
        side = 200 + _GAP
        square = np.full((side, side, 3), 255, np.uint8)
        for place, left in enumerate(_BOXES):
            y, x = ((100 + _GAP) * i for i in divmod(place, 2))
            square[y : y + 100, x : x + 100] = picture[:, left : left + 100]
        return resize(square, self._size, (0, 0, side, side))


def _split(sentence: str, val: float, test: float) -> str:
    plain = " ".join(sentence.lower().split()).rstrip(".")
    place = zlib.crc32(plain.encode()) / 2**32
    return "test" if place < test else "val" if place < test + val else "train"
