"""Blood cells under the microscope: the BCCD data set, a record a cell."""

from pathlib import Path
from xml.etree import ElementTree

from vismem.data import Example
from vismem.data.images import read
from vismem.errors import UserError

# As the annotations name them -> as a text would; in the order of their labels.
CELLS = {
    "RBC": "a red blood cell",
    "WBC": "a white blood cell",
    "Platelets": "a platelet",
}
CONTEXT = 1.2  # Side of the square that is cut out, in units of the longer side of a cell's box.


class BccdSource:
    """The cells of a split's pictures, each cut out of its picture, with `label` and `text`.

    Args:
      split: "train", "val" or "test", as ImageSets/Main has them: by picture.
      root: folder with Annotations, ImageSets and JPEGImages.
    """

    def __init__(self, split: str, root: str):
        listed = Path(root) / "ImageSets" / "Main" / f"{split}.txt"
        if split not in ("train", "val", "test") or not listed.is_file():
            raise UserError(
                f"data.source.root={root!r}: has no {listed.relative_to(root)}; BCCD's folder has "
                "train, val and test there"
            )
        self._root = Path(root)
        self._cells = [cell for name in listed.read_text().split() for cell in self._read(name)]

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, index: int) -> Example:
        name, kind, (left, top, right, bottom) = self._cells[index]
        picture = read(str(self._root / "JPEGImages"), f"{name}.jpg")
        height, width = picture.shape[:2]
        side = min(round(CONTEXT * max(right - left, bottom - top)), height, width)
        # Moved into the picture where it would reach beyond it.
        x = min(max((left + right - side) // 2, 0), width - side)
        y = min(max((top + bottom - side) // 2, 0), height - side)
        cut = picture[y : y + side, x : x + side]
        return {"image": cut, "text": CELLS[kind], "label": list(CELLS).index(kind)}

    def text(self, index: int) -> str:
        """The text of a record, without decoding its picture."""
        return CELLS[self._cells[index][1]]

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
