"""CoDraw and i-CLEVR in the HDF5 files that the scripts of GeNeVA's data sets write.

El-Nouby et al., "Tell, Draw, and Repeat", ICCV 2019; github.com/Maluuba/GeNeVA_datasets.
"""

import json
from pathlib import Path

import numpy as np

from vismem.data import Example
from vismem.data.dialogue import padded
from vismem.data.images import resize
from vismem.errors import UserError

_FILES = {"iclevr": "clevr_{}.h5", "codraw": "codraw_{}.h5"}
_PIXELS = 128  # width and height of the pictures, in which the files' coordinates are


class GenevaSource:
    """A split of one of the two data sets; needs `h5py`.

    A record has the keys of conversations in data/__init__.py, as many turns as the longest
    conversation of the split, and
      objects: bool [T, N], which of the data set's N kinds of objects (24 or 58) are drawn.
      coords: float32 [T, N, 3], where: x and y as shares of the picture's width and height, and the
        depth as the file has it; zeros for what is not drawn.

    Args:
      split: "train", "val" or "test".
      size: width and height of the pictures in pixels; the files have 128.
      folder: where the files are: clevr_train.h5 or codraw_train.h5 and so on.
      dataset: "iclevr" or "codraw".
    """

    def __init__(self, split: str, size: int, folder: str, dataset: str = "iclevr"):
        try:
            import h5py
        except ImportError:
            raise UserError(
                "data.source: geneva reads HDF5; pip install 'vismem[geneva]'"
            ) from None
        if dataset not in _FILES:
            raise UserError(f"data.source.dataset={dataset!r}: must be iclevr or codraw")
        path = Path(folder) / _FILES[dataset].format(split)
        if not path.exists():
            raise UserError(f"{path}: no such file; GeNeVA's scripts for {dataset} write it")
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise UserError(f"{path}: cannot be read as HDF5 ({error})") from None
        self._path, self._size = path, size
        self._keys = sorted(k for k, entry in self._file.items() if isinstance(entry, h5py.Group))
        if not self._keys:
            raise UserError(f"{path}: has no conversations")
        self._longest = max(sum(self._entry(i, "images").shape[:1]) for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Example:
        texts = self._texts(index)
        images, objects, coords = (
            self._entry(index, name)[()] for name in ("images", "objects", "coords")
        )
        for name, array, axes in (
            ("images", images, ("T", "H", "W", 3)),
            ("objects", objects, ("T", "N")),
            ("coords", coords, ("T", *objects.shape[1:], 3)),
        ):
            fixed = tuple(
                n if isinstance(axis, int) else axis for n, axis in zip(array.shape, axes)
            )
            if array.ndim != len(axes) or fixed != axes:
                raise UserError(
                    f"{self._where(index)} has {name} of shape {list(array.shape)} where "
                    f"[{', '.join(map(str, axes))}] is wanted; write the file anew"
                )
        if not len(texts) == len(images) == len(objects) == len(coords):
            raise UserError(
                f"{self._where(index)} has {len(texts)} texts, {len(images)} images,"
                f" {len(objects)} objects and {len(coords)} coords; write the file anew"
            )
        arrays = {
            "image": np.stack([self._picture(image) for image in images]),
            "objects": objects.astype(bool),
            "coords": coords.astype(np.float32) / np.float32([_PIXELS, _PIXELS, 1]),
        }
        return padded(arrays, texts, self._longest)

    def text(self, index: int) -> str:
        """The texts of a record, a line each, without its pictures."""
        return "\n".join(self._texts(index))

    def _texts(self, index: int) -> tuple[str, ...]:
        spoken = "utterences" in self._file[self._keys[index]]  # CoDraw's, as it is spelled there
        try:
            found = self._entry(index, "utterences" if spoken else "text").asstr()[()]
            texts = tuple(found if spoken else json.loads(found))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self._where(index)}: its text cannot be read ({error})") from None
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise UserError(f"{self._where(index)}: a turn has no text; describe it or remove it")
        return texts

    def _entry(self, index: int, name: str):
        group = self._file[self._keys[index]]
        if name not in group:
            raise UserError(f"{self._where(index)} has no {name!r}; write it anew")
        return group[name]

    def _where(self, index: int) -> str:
        return f"{self._path}: {self._keys[index]}"

    def _picture(self, pixels: np.ndarray) -> np.ndarray:
        """The scripts write the colours as OpenCV has them, blue first."""
        height, width = pixels.shape[:2]
        return resize(pixels[..., ::-1], self._size, (0, 0, width, height))
