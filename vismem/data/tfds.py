"""Prepared tensorflow-datasets data sets, read from array_record files without TensorFlow."""

from collections.abc import Mapping

from vismem.data import Example
from vismem.data.images import Color, decode
from vismem.errors import UserError


class TfdsSource:
    """A split of a data set that has been prepared (`tfds build --file_format=array_record`).

    Args:
      split: "train", "val" or "test".
      folder: the prepared version's folder, which holds dataset_info.json.
      image, text, label: names of the features; a text that is a class label reads as the class's
        name, and a label that the data set lacks is left out.
      splits: what the splits are called there, slices allowed: `{"val": "train[90%:]"}`.
      background: RGB that transparent pictures are put on.
    """

    def __init__(
        self,
        split: str,
        folder: str,
        image: str = "image",
        text: str = "text",
        label: str = "label",
        splits: Mapping[str, str] | None = None,
        background: Color = (255, 255, 255),
    ):
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(folder)
        except Exception as error:
            raise UserError(
                f"data.source.folder={folder!r}: no prepared data set ({error})"
            ) from error
        features = builder.info.features
        for key, name in (("image", image), ("text", text)):
            if name not in features:
                raise UserError(
                    f"data.source.{key}={name!r}: no such feature in {folder}; it has"
                    f" {', '.join(sorted(features))}"
                )
        self._names = {"image": image, "text": text, "label": label}
        self._where = f"{builder.info.full_name} {split}"
        self._background = background
        self._class_name = getattr(features[text], "int2str", None)
        self._labelled = label in features
        # Encoded pictures go through our own decoding: limits, modes and names of errors are one.
        encoded = isinstance(features[image], tfds.features.Image)
        decoders = {image: tfds.decode.SkipDecoding()} if encoded else None
        try:
            self._records = builder.as_data_source(
                (splits or {}).get(split, split), decoders=decoders
            )
        except Exception as error:
            raise UserError(f"data.source: no {split} split in {folder} ({error})") from error

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        record, name = self._records[index], f"{self._where} record {index}"
        text = record[self._names["text"]]
        if self._class_name:
            text = self._class_name(int(text))
        text = text.decode() if isinstance(text, bytes) else str(text)
        if not text.strip():
            raise UserError(f"{name}: its text is empty; describe it or remove it")
        image = record[self._names["image"]]
        example = {"image": decode(image, name, self._background), "text": text.strip()}
        if self._labelled:
            example["label"] = int(record[self._names["label"]])
        return example
