"""From a source to a host's batches: shuffled, augmented, tokenised, ahead of time, restartable."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import grain
import jax
import numpy as np
from grain.experimental import index_shuffle
from jax.experimental import multihost_utils

from vismem.data import AUGMENTATIONS, SOURCES, DataConfig, Example, MissingFiles, Source, source
from vismem.data.images import fit
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.registry import build, nearest, resolve

Batch = dict[str, np.ndarray]

# What a batch has of an example besides pictures and texts.
KEPT = {
    "label": np.int32,
    "skipped": np.int32,
    "mask": bool,
    "needs_memory": bool,
    "left": np.uint8,
    "first": np.uint8,
    "kept": bool,
}


class Batches(grain.DatasetIterator):
    """An iterator over batches that can be saved between any two.

    A batch is a dict of numpy arrays:
      image: uint8 [b, S, S, 3].
      tokens: int32 [b, L], padded with 0; L is `data.pad_to` in training, if that is given.
      label: int32 [b], if the source has labels.
      prompt_tokens: int32 [b, L], if the source has prompts.
      near_miss_tokens: int32 [b, K, L], if the source has near misses.

    Of conversations, `image` and `tokens` have an axis of turns after the first, and there is
      mask: bool [b, T], the turns that there are; the others are all padding.
      needs_memory: bool [b, T], if the source tells.
      left: uint8 [b, T, S, S, 3], first: uint8 [b, S, S, 3], kept: bool [b, T, S, S], if the source
        has them (data/__init__.py).

    Attributes:
      skipped: records that this host passed over so far because they could not be read; 0 where
        another reads the same and counts them. The state holds the sum over all hosts, and nothing
        else that depends on them.
    """

    def __init__(self, parent: grain.DatasetIterator, counts: bool = True):
        super().__init__(parent)
        self.skipped, self._counts = 0, counts

    def __next__(self) -> Batch:
        batch = next(self._parent)
        self.skipped += int(batch.pop("skipped").sum()) * self._counts
        return batch

    def get_state(self) -> dict:
        """The place in the data, the same on all hosts, which must all ask for it."""
        skipped = multihost_utils.process_allgather(np.int32(self.skipped))
        return {"batches": self._parent.get_state(), "skipped": int(skipped.sum())}

    def set_state(self, state: dict) -> None:
        self._parent.set_state(state["batches"])
        self.skipped = state["skipped"] if jax.process_index() == 0 else 0

    def close(self) -> None:
        """Ends the threads."""
        self._parent.close()


def batches(
    config: DataConfig,
    source: Source,
    tokenizer: Tokenizer,
    batch_size: int,
    seed: int,
    train: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    counts: bool = True,
) -> Batches:
    """This host's batches of a source.

    The hosts' batches laid end to end are the batch one host would have had: what is in it, in
    which order and how augmented does not depend on the number of hosts. A record that is skipped
    gives its place to the next one that can be read, so that all hosts stay in step.

    Args:
      config: size, augmentations, what to do with unreadable records, threads.
      source: the records.
      tokenizer: for their texts.
      batch_size: examples a batch on this host.
      seed: of the order and the augmentations.
      train: forever, shuffled anew each epoch and augmented; else one pass in order, as far as it
        fills batches on all hosts.
      process_index, process_count: which host this is, of how many.
      counts: whether it counts what it skips; of hosts that read the same one must.
    """
    if not train and len(source) < batch_size * process_count:
        raise UserError(
            f"{len(source)} examples do not fill a batch of {batch_size * process_count}: lower"
            " batch_size or take a larger split"
        )
    # Grain keeps the place and reads ahead. Each batch is ordered and read in one go, since grain's
    # own work on every record would cost more than reading it.
    count = sys.maxsize if train else len(source) // batch_size  # without end, as grain has it
    whole = grain.MapDataset.range(count).map(_Order(len(source), batch_size, seed, train))
    whole = whole.map_with_index(_Reader(config, source, tokenizer, seed, train))
    mine = whole[process_index : len(whole) - len(whole) % process_count : process_count]
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch)
    return Batches(iter(mine.to_iter_dataset(options)), counts)


def shapes(config: DataConfig, batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a training batch, [batch_size, ...], as `batches` makes it of the first
    record; or of a blank one, where the source's files are not here.

    Args:
      length: of the tokenizer, tokens of a text.
    """
    try:
        records = source(config, "train")
    except MissingFiles:
        made_by = resolve(SOURCES, config.source["name"], "data.source.name")
        if not hasattr(made_by, "blank"):
            raise
        image = np.zeros((config.size, config.size, 3), np.uint8)
        records = [{"image": image, **made_by.blank(config.source)}]
    silent = SimpleNamespace(encode=lambda text: np.zeros(length, np.int32), length=length)
    batch = _Reader(config, records, silent, seed=0, train=True)(0, [0])
    del batch["skipped"]
    return {k: jax.ShapeDtypeStruct((batch_size, *x.shape[1:]), x.dtype) for k, x in batch.items()}


class _Order:
    """Which records a batch is of: one after the other, or all of them in every epoch, shuffled."""

    def __init__(self, records: int, batch_size: int, seed: int, shuffled: bool):
        self._records, self._batch_size = records, batch_size
        self._seed, self._shuffled = seed, shuffled

    def __call__(self, place: int) -> list[int]:
        first = place * self._batch_size
        positions = range(first, first + self._batch_size)
        return [self._shuffle(p) for p in positions] if self._shuffled else list(positions)

    def _shuffle(self, position: int) -> int:
        epoch, place = divmod(position, self._records)
        seed = _epoch_seed(self._seed % 2**32, epoch)
        return index_shuffle(place, max_index=self._records - 1, seed=seed, rounds=4)


@functools.lru_cache
def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


class _Reader:
    """Reads the records of a batch and makes arrays of them."""

    def __init__(
        self, config: DataConfig, source: Source, tokenizer: Tokenizer, seed: int, train: bool
    ):
        if config.pad_to > tokenizer.length:
            raise UserError(
                f"data.pad_to={config.pad_to}: is more than data.tokenizer.length="
                f"{tokenizer.length}; raise that, or lower it"
            )
        augment = config.augment if train else {}
        self._source, self._tokenizer, self._seed = source, tokenizer, seed
        self._length = config.pad_to if train and config.pad_to else tokenizer.length
        self._on_error, self._size = config.on_error, config.size
        self._augmentations = augmentations(augment, config.size)
        self._cropped = "crop" in augment
        self._read = functools.lru_cache(config.cache)(self._read_anew)

    def __call__(self, place: int, indices: Sequence[int]) -> Batch:
        """Batch number `place`, of all hosts' batches, from the records `indices`."""
        first = place * len(indices)
        examples = [self._example(first + i, index) for i, index in enumerate(indices)]
        batch = {
            "image": np.stack([e["image"] for e in examples]),
            "tokens": np.stack([self._tokens(e) for e in examples]),
        }
        for key, dtype in KEPT.items():
            if key in examples[0]:
                batch[key] = np.array([e[key] for e in examples], dtype)
        if "prompt" in examples[0]:
            batch["prompt_tokens"] = np.stack([self._encode(e["prompt"]) for e in examples])
        if "near_misses" in examples[0]:
            batch["near_miss_tokens"] = np.stack(
                [np.stack([self._encode(text) for text in e["near_misses"]]) for e in examples]
            )
        return batch

    def _encode(self, text: str) -> np.ndarray:
        return self._tokenizer.encode(text)[: self._length]

    def _tokens(self, example: Example) -> np.ndarray:
        """Of its text, int32 [L]; of a conversation's, [T, L]."""
        if "texts" not in example:
            return self._encode(example["text"])
        said = [self._encode(t) for t, is_turn in zip(example["texts"], example["mask"]) if is_turn]
        silent = np.zeros_like(said[0])
        return np.stack(said + [silent] * (len(example["mask"]) - len(said)))

    def _example(self, position: int, index: int) -> Example:
        """A record at its `position` in the training, which decides how it is augmented."""
        example = self._read(index)
        if self._augmentations:
            rng = np.random.Generator(np.random.Philox(key=(self._seed % 2**32, position)))
            for augmentation in self._augmentations:
                example = augmentation(example, rng)
        return example

    def _read_anew(self, index: int) -> Example:
        """A readable record, of the pipeline's size unless a random crop will bring it to that."""
        example = self._readable(index)
        if "texts" in example:
            if self._augmentations:
                raise UserError("data.augment: conversations are not augmented; leave it empty")
            turns = [fit(image, self._size) for image in example["image"]]
            return example | {"image": np.stack(turns)}
        return example if self._cropped else example | {"image": fit(example["image"], self._size)}

    def _readable(self, index: int) -> Example:
        """Record `index`; if errors are to be skipped, the next one that can be read."""
        count = len(self._source)
        for skipped in range(count):
            try:
                return {**self._source[(index + skipped) % count], "skipped": skipped}
            except UserError as error:
                if self._on_error == "raise":
                    raise UserError(f"{error} (data.on_error=skip passes over it)") from error
        raise UserError(f"data.source: none of its {count} records can be read")


def augmentations(augment: Mapping[str, Mapping], size: int) -> list[Callable]:
    """The augmentations of a config in their order: (example, rng) -> example."""
    for name in augment:
        if name not in AUGMENTATIONS:
            raise UserError(f"data.augment.{name}: unknown name; {nearest(name, AUGMENTATIONS)}")
    return [
        build(AUGMENTATIONS, {**augment[name], "name": name}, f"data.augment.{name}", size=size)
        for name in AUGMENTATIONS
        if name in augment
    ]
