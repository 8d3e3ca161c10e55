"""From examples of any source to host batches.

A source is `__len__` and `__getitem__(index) -> Example`, no more: a new one is a file, and a line
in `SOURCES`. An Example is a dict:

  image: uint8 [H, W, 3], of any size.
  text: what the picture shows; or, where there is a prompt, what is to be said to it.
  prompt: a question about the picture, or another text to go by; in every example or in none.
  about: the sort of question (the sources of questions only).
  label: int, the class; in every example of a source or in none.
  keywords: tuple of strings.
  captions: tuple of strings, all texts of the picture where there are several; `text` is one.
  near_misses: tuple of strings, texts just false of the picture; as many in every example.
  index: int, which example of its world it is (the world and dialogue sources only).

Of a conversation of up to T turns (the dialogue, edits and geneva sources) it has

  image: uint8 [T, H, W, 3], the picture after each turn.
  texts: T strings, the instruction of each turn.
  mask: bool [T], the turns that there are; the others, at the end, are empty.
  left: uint8 [T, H, W, 3], what the next turn begins with, where that is not always `image`.
  first: uint8 [H, W, 3], what the first turn begins with, where that is not an empty canvas.
  kept: bool [T, H, W], which pixels a turn must leave as they are; where none must, False.

A source raises `UserError`, with the record's name, for what it cannot read, an empty text
included, and `MissingFiles` where its files are not here; plans then ask its class for
`blank(options)`, what every record has beside its image, of no content. It may also have
`text(index)`, which gives the text alone where that is cheaper, and `classes`, label -> name, of
all classes there are, those included that the split lacks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vismem.data.images import fit
from vismem.errors import UserError
from vismem.registry import build

Example = dict[str, Any]

SOURCES = {
    "world": "vismem.data.world:WorldSource",
    "expansions": "vismem.data.expansions:ExpansionSource",
    "questions": "vismem.data.questions:QuestionSource",
    "nlvr": "vismem.data.nlvr:NlvrSource",
    "folder": "vismem.data.folder:FolderSource",
    "tfds": "vismem.data.tfds:TfdsSource",
    "dialogue": "vismem.data.dialogue:DialogueSource",
    "geneva": "vismem.data.geneva:GenevaSource",
    "bccd": "vismem.data.bccd:BccdSource",
    "edits": "vismem.data.edits:EditSource",
}
# In the order in which they are applied.
AUGMENTATIONS = {
    "crop": "vismem.data.augment:Crop",
    "flip": "vismem.data.augment:Flip",
    "affine": "vismem.data.augment:Affine",
    "color": "vismem.data.augment:Color",
    "blur": "vismem.data.augment:Blur",
}
TOKENIZERS = {
    "byte": "vismem.data.tokenizers:ByteTokenizer",
    "bpe": "vismem.data.tokenizers:train_bpe",
    "unigram": "vismem.data.tokenizers:train_unigram",
    "words": "vismem.data.tokenizers:train_words",
    "pretrained": "vismem.data.tokenizers:PretrainedTokenizer",
}


class MissingFiles(UserError):
    """What a source reads is not on this machine."""


class Source(Protocol):
    """Where examples come from."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@dataclass(frozen=True)
class DataConfig:
    """Where examples come from, and what is done to them.

    Attributes:
      source: `{"name": ..., **options}`, a name of `SOURCES`.
      size: width and height of the pictures in pixels.
      tokenizer: `{"name": "byte" | "bpe" | "unigram" | "words" | "pretrained", **options}`.
      pad_to: tokens that the texts of training are padded to and cut at, where they need fewer than
        those that are evaluated and drawn; 0 for the tokenizer's length. Nothing is learned of
        padding, but time is spent on it. Not for SigLIP's texts, of which padding is a part.
      augment: augmentation -> its options, e.g. `{"flip": {}, "blur": {"sigma": (0.5, 1.0)}}`;
        applied in the order of `AUGMENTATIONS`, in training only.
      on_error: whether an unreadable record ends the run or is skipped and counted.
      cache: records kept in memory once read; helps if at least as many as the split has.
      cache_text: folder where the features of a frozen text encoder are kept once computed; "" for
        none (training/text_cache.py).
      cache_image: the same of a locked image tower (training/image_cache.py).
      threads: that read, draw and decode; 0 does all that in the training loop.
      prefetch: batches made ahead.
    """

    source: Mapping[str, Any] = field(default_factory=lambda: {"name": "world"})
    size: int = 32
    tokenizer: Mapping[str, Any] = field(default_factory=lambda: {"name": "bpe"})
    pad_to: int = 0
    augment: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    on_error: Literal["raise", "skip"] = "raise"
    cache: int = 0
    cache_text: str = ""
    cache_image: str = ""
    threads: int = 1
    prefetch: int = 8

    def __post_init__(self):
        for key, least in (
            ("size", 1),
            ("pad_to", 0),
            ("cache", 0),
            ("threads", 0),
            ("prefetch", 1),
        ):
            if getattr(self, key) < least:
                raise UserError(f"data.{key}={getattr(self, key)}: must be at least {least}")
        if self.prefetch < self.threads:
            raise UserError(
                f"data.prefetch={self.prefetch}: must be at least data.threads={self.threads}"
            )


def source(config: DataConfig, split: str) -> Source:
    """The records of a split: "train", "val", "test", or another that the source knows."""
    records = build(SOURCES, config.source, "data.source", split=split, size=config.size)
    if not len(records):
        raise UserError(f"data.source: no examples in the {split} split of {dict(config.source)}")
    return records


def some(config: DataConfig, split: str, count: int, spread: bool = False) -> list[Example]:
    """Up to `count` examples of a split: the first ones, or `spread` over it evenly; their pictures
    are `config.size`. What cannot be read is left out, if `config.on_error` is "skip"."""
    return list(each(config, split, count, spread))


def each(config: DataConfig, split: str, count: int, spread: bool = False) -> Iterator[Example]:
    """The examples of `some`, read one after another."""
    records, readable = source(config, split), 0
    count = min(count, len(records))
    for place in range(count):
        try:
            example = records[place * len(records) // count if spread else place]
        except UserError as error:
            if config.on_error == "raise":
                raise UserError(f"{error} (data.on_error=skip passes over it)") from error
            continue
        if "text" not in example:
            raise UserError(
                f"data.source.name={config.source['name']!r}: has conversations, and an evaluator "
                "of single pictures was asked for; dialogues and edits measure them"
            )
        readable += 1
        yield example | {"image": fit(example["image"], config.size)}
    if not readable:
        raise UserError(f"data.source: none of its {split} examples can be read")
