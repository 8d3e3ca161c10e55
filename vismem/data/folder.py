"""Pictures in a folder, with `metadata.jsonl` or with one folder a class."""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vismem.data import Example, MissingFiles
from vismem.data.images import SUFFIXES, Color, read
from vismem.errors import UserError


class FolderSource:
    """A split of a folder in the imagefolder convention of Hugging Face.

    Either `metadata.jsonl` has a line `{"file_name", "text"}` for each picture, with optional
    `keywords` (a list of strings) and `label` (an int); or each folder is a class, its name the
    text and its place in the alphabet the label. Splits are by a hash of the file's name: a picture
    stays on its side when others come or go.

    Args:
      split: "train", "val" or "test".
      root: the folder.
      val, test: shares of the pictures that are held out.
      alike: a regex; pictures whose names differ in nothing but what it finds are kept on one side.
      keywords: how many keywords the text takes in at most.
      background: RGB that transparent pictures are put on.

    Attributes:
      classes: label -> name, of the whole folder; of a label in metadata.jsonl the first text.
    """

    def __init__(
        self,
        split: str,
        root: str,
        val: float = 0.1,
        test: float = 0.1,
        alike: str = "",
        keywords: int = 0,
        background: Color = (255, 255, 255),
    ):
        if split not in ("train", "val", "test"):
            raise UserError(
                f"data.source: a folder has no {split!r} split; train, val and test only"
            )
        if min(val, test) < 0 or val + test > 1:
            raise UserError(f"data.source.val={val}, test={test}: shares must be 0 to 1 together")
        if any(not 0 <= c <= 255 for c in background):
            raise UserError(f"data.source.background={background}: three numbers of 0 to 255")
        if not Path(root).is_dir():
            raise MissingFiles(f"data.source.root={root!r}: no such folder")
        listed = Path(root) / "metadata.jsonl"
        rows = list(_metadata(listed) if listed.exists() else _classes(Path(root)))
        if not rows:
            raise UserError(
                f"data.source.root={root!r}: no metadata.jsonl and no folder of pictures"
            )
        if len({"label" in row for row in rows}) == 2:
            raise UserError(f"{listed}: some lines have a label and some have none")
        self.classes = {r["label"]: r["text"].strip() for r in reversed(rows) if "label" in r}
        self._root, self._keywords, self._background = root, keywords, background
        try:
            names = [re.sub(alike, "", row["file_name"]) for row in rows]
        except re.error as error:
            raise UserError(
                f"data.source.alike={alike!r}: not a regular expression ({error})"
            ) from None
        self._rows = [row for row, n in zip(rows, names) if _split(n, val, test) == split]

    @staticmethod
    def blank(_: Mapping[str, Any]) -> Example:
        """Without a label, which some folders have."""
        return {"text": ""}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        row = self._rows[index]
        example = {
            "image": read(self._root, row["file_name"], self._background),
            "text": self.text(index),
            "keywords": tuple(row.get("keywords", ())),
        }
        return example | {key: row[key] for key in ("label",) if key in row}

    def text(self, index: int) -> str:
        """The text of a record, without decoding its picture."""
        row = self._rows[index]
        text = ", ".join([row["text"].strip(), *row.get("keywords", ())[: self._keywords]])
        if not row["text"].strip():
            raise UserError(f"{row['file_name']}: its text is empty; describe it or remove it")
        if any("\ud800" <= letter <= "\udfff" for letter in text):  # JSON may hold such, UTF-8 not
            raise UserError(f"{row['file_name']}: its text holds half a letter; mend or remove it")
        return text


def _split(file_name: str, val: float, test: float) -> str:
    place = zlib.crc32(file_name.encode()) / 2**32
    return "test" if place < test else "val" if place < test + val else "train"


def _metadata(path: Path) -> Iterator[dict]:
    """The checked lines of a metadata.jsonl."""
    kinds = {"file_name": str, "text": str, "label": int}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON ({error})") from None
        if not isinstance(row, dict) or not {"file_name", "text"} <= row.keys():
            raise UserError(f"{path}:{number}: needs file_name and text")
        for key, kind in kinds.items():
            if key in row and type(row[key]) is not kind:
                raise UserError(
                    f"{path}:{number}: {key}={row[key]!r} is not of type {kind.__name__}"
                )
        if not -(2**31) <= row.get("label", 0) < 2**31:
            raise UserError(f"{path}:{number}: label={row['label']} is not of 32 bits; number anew")
        words = row.get("keywords", [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError(f"{path}:{number}: keywords={words!r} is not a list of strings")
        yield row


def _classes(root: Path) -> Iterator[dict]:
    """Rows for the pictures of one folder a class."""
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    for label, folder in enumerate(folders):
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                name = file.relative_to(root).as_posix()
                yield {"file_name": name, "text": folder.name.replace("_", " "), "label": label}
