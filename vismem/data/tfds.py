"""Prepared tensorflow-datasets data sets, read from array_record files without TensorFlow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vismem.data import Example, MissingFiles
from vismem.data.images import Color, decode
from vismem.errors import UserError


class TfdsSource:
    """A split of a data set that has been prepared (`tfds build --file_format=array_record`).

    Args:
      split: "train", "val" or "test".
      folder: the prepared version's folder, which holds dataset_info.json.
      image, text, label: names of the features; a text that is a class label reads as the class's
        name, "captions/text" is the text of every caption of a record, all of which are `captions`
        of an example, and a label that the data set lacks is left out.
      texts: examples that a record with several texts makes, each with one of them as `text`; where
        there are fewer they come again.
      splits: what the splits are called there, slices allowed: `{"val": "train[90%:]"}`.
      background: RGB that transparent pictures are put on.

    Attributes:
      classes: label -> name, as the data set calls them; empty if it has no names for its labels.
    """

    def __init__(
        self,
        split: str,
        folder: str,
        image: str = "image",
        text: str = "text",
        label: str = "label",
        texts: int = 1,
        splits: Mapping[str, str] | None = None,
        background: Color = (255, 255, 255),
    ):
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(folder)
        except Exception as error:
            raise MissingFiles(
                f"data.source.folder={folder!r}: no prepared data set ({error})"
            ) from error
        features = builder.info.features
        for key, name in (("image", image), ("text", text)):
            try:
                features[name] if key == "image" else nested(features, name)
            except (KeyError, TypeError):
                raise UserError(
                    f"data.source.{key}={name!r}: no such feature in {folder}; it has"
                    f" {', '.join(sorted(features))}"
                ) from None
        if texts < 1:
            raise UserError(f"data.source.texts={texts}: must be at least 1")
        self._names = {"image": image, "text": text, "label": label}
        self._where = f"{builder.info.full_name} {split}"
        self._background = background
        self._texts = texts
        self._class_name = getattr(nested(features, text), "int2str", None)
        self._labelled = label in features
        if self._labelled and not is_number(features[label]):
            raise UserError(
                f"data.source.label={label!r}: is no whole number in {folder}; name another "
                "feature, or one that it does not have"
            )
        named = self._labelled and getattr(features[label], "num_classes", None)
        self.classes = dict(enumerate(features[label].names)) if named else {}
        # Encoded pictures go through our own decoding: limits, modes and names of errors are one.
        encoded = isinstance(features[image], tfds.features.Image)
        decoders = {image: tfds.decode.SkipDecoding()} if encoded else None
        try:
            self._records = builder.as_data_source(
                (splits or {}).get(split, split), decoders=decoders
            )
        except Exception as error:
            raise UserError(f"data.source: no {split} split in {folder} ({error})") from error

    @staticmethod
    def blank(_: Mapping[str, Any]) -> Example:
        """Without a label, which some data sets have."""
        return {"text": ""}

    def __len__(self) -> int:
        return len(self._records) * self._texts

    def __getitem__(self, index: int) -> Example:
        place, turn = divmod(index, self._texts)
        record, name = self._record(place)
        image = record[self._names["image"]]
        texts, several = self._read(record, name)
        example = {
            "image": decode(image, name, self._background),
            "text": texts[turn % len(texts)],
        }
        if several:
            example["captions"] = tuple(texts)
        if self._labelled:
            example["label"] = int(record[self._names["label"]])
        return example

    def text(self, index: int) -> str:
        """The text of an example, without decoding its picture."""
        place, turn = divmod(index, self._texts)
        texts, _ = self._read(*self._record(place))
        return texts[turn % len(texts)]

    def _record(self, place: int) -> tuple[Mapping[str, Any], str]:
        """A record, and what error lines call it."""
        name = f"{self._where} record {place}"
        try:
            return self._records[place], name
        except Exception as error:  # a shard that is missing or damaged: array_record's own
            raise UserError(
                f"{name}: cannot be read ({' '.join(str(error).split())}); restore its file or "
                "prepare the data set again"
            ) from error

    def _read(self, record: Mapping[str, Any], name: str) -> tuple[list[str], bool]:
        """The texts of a record that are not empty, and whether it may have several."""
        found = nested(record, self._names["text"])
        several = np.ndim(found) > 0
        texts = []
        for text in found if several else [found]:
            if self._class_name:
                text = self._class_name(int(text)) if text >= 0 else ""  # -1: of no known class
            texts.append((text.decode() if isinstance(text, bytes) else str(text)).strip())
        texts = [text for text in texts if text]
        if not texts:
            raise UserError(f"{name}: its text is empty; describe it or remove it")
        return texts, several


def is_number(feature: Any) -> bool:
    """Whether a feature of a data set is one whole number."""
    return feature.shape == () and np.issubdtype(feature.np_dtype, np.integer)


def nested(values: Mapping[str, Any], path: str) -> Any:
    """What a data set's features or a record have under a name, or inside one another under
    "outer/inner"."""
    if path in values:
        return values[path]
    outer, _, inner = path.partition("/")
    return nested(values[outer], inner)
