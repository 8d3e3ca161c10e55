"""Blood cells under the microscope: the BCCD data set, to be told apart or counted."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np

from vismem.data import Example, MissingFiles
from vismem.data.images import read, resize
from vismem.errors import UserError

# As the annotations name them -> as a text would; in the order of their labels.
CELLS = {
    "RBC": "a red blood cell",
    "WBC": "a white blood cell",
    "Platelets": "a platelet",
}
CONTEXT = 1.2  # Side of the square that is cut out, in units of the longer side of a cell's box.


def _plain(kind: str) -> str:
    return CELLS[kind].removeprefix("a ")


class BccdSource:
    """The cells of a split's pictures.

    Args:
      split: "train", "val" or "test", as ImageSets/Main has them: by picture.
      root: folder with Annotations, ImageSets and JPEGImages.
      task: "classify" has a record for each cell, cut out of its picture, with `label` and `text`;
        "count" one for each picture and kind of cell, which asks in `prompt` how many there are:
        `text` is the number, `about` the kind, and the picture is squeezed into a square.
    """

    def __init__(self, split: str, root: str, task: Literal["classify", "count"] = "classify"):
        listed = Path(root) / "ImageSets" / "Main" / f"{split}.txt"
        if split not in ("train", "val", "test") or not listed.is_file():
            raise MissingFiles(
                f"data.source.root={root!r}: has no {listed.relative_to(root)}; BCCD's folder has "
                "train, val and test there"
            )
        self._root, names = Path(root), listed.read_text().split()
        self._cells = [cell for name in names for cell in self._read(name)]
        counts = Counter((name, kind) for name, kind, _ in self._cells)
        self._counts = None
        self.classes = dict(enumerate(CELLS.values()))
        if task == "count":
            self._counts = [(name, kind, counts[name, kind]) for name in names for kind in CELLS]

    @staticmethod
    def blank(options: Mapping[str, Any]) -> Example:
        if options.get("task") == "count":
            return {"prompt": "", "text": "", "about": ""}
        return {"text": "", "label": 0}

    def __len__(self) -> int:
        return len(self._cells if self._counts is None else self._counts)

    def __getitem__(self, index: int) -> Example:
        if self._counts is not None:
            name, kind, _ = self._counts[index]
            picture = self._picture(name)
            height, width = picture.shape[:2]
            prompt, number = self.text(index).splitlines()
            squeezed = resize(picture, height, (0, 0, width, height))
            return {"image": squeezed, "prompt": prompt, "text": number, "about": _plain(kind)}
        name, kind, (left, top, right, bottom) = self._cells[index]
        picture = self._picture(name)
        height, width = picture.shape[:2]
        side = min(round(CONTEXT * max(right - left, bottom - top)), height, width)
        # Moved into the picture where it would reach beyond it.
        x = min(max((left + right - side) // 2, 0), width - side)
        y = min(max((top + bottom - side) // 2, 0), height - side)
        cut = picture[y : y + side, x : x + side]
        return {"image": cut, "text": CELLS[kind], "label": list(CELLS).index(kind)}

    def text(self, index: int) -> str:
        """The texts of a record, a line each, without decoding its picture."""
        if self._counts is None:
            return CELLS[self._cells[index][1]]
        _, kind, number = self._counts[index]
        return f"how many {_plain(kind)}s are there?\n{number}"

    def _picture(self, name: str) -> np.ndarray:
        return read(str(self._root / "JPEGImages"), f"{name}.jpg")

    def _read(self, name: str) -> list[tuple[str, str, tuple[int, int, int, int]]]:
        """The picture's cells: its name, kind, and box (left, top, right, bottom) in pixels."""
        path = self._root / "Annotations" / f"{name}.xml"
        found = []
        try:
            for cell in ElementTree.parse(path).iter("object"):
                sides = ("xmin", "ymin", "xmax", "ymax")
                box = tuple(int(cell.findtext(f"bndbox/{side}")) for side in sides)
                kind = cell.findtext("name")
                if kind not in CELLS:
                    raise UserError(f"{path}: unknown cell {kind!r}; known: {', '.join(CELLS)}")
                if box[0] < box[2] and box[1] < box[3]:  # some boxes are empty
                    found.append((name, kind, box))
        except (OSError, ElementTree.ParseError, TypeError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); restore it") from None
        return found
