"""From a source to a host's batches: shuffled, augmented, tokenised, ahead of time, restartable."""

import functools
from collections.abc import Callable, Sequence

import grain
import numpy as np

from vismem.data import AUGMENTATIONS, DataConfig, Example, Source
from vismem.data.images import fit
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.registry import build, nearest

Batch = dict[str, np.ndarray]
Step = Callable[[Example, np.random.Generator | None], Example]


class Batches(grain.DatasetIterator):
    """An iterator over batches that can be saved between any two.

    A batch is a dict of numpy arrays:
      image: uint8 [b, S, S, 3].
      tokens: int32 [b, L], padded with 0.
      label: int32 [b], if the source has labels.

    Attributes:
      skipped: records passed over so far because they could not be read; part of the state.
    """

    def __init__(self, parent: grain.DatasetIterator):
        super().__init__(parent)
        self.skipped = 0

    def __next__(self) -> Batch:
        batch = next(self._parent)
        self.skipped += int(batch.pop("skipped").sum())
        return batch

    def get_state(self) -> dict:
        return {"batches": self._parent.get_state(), "skipped": self.skipped}

    def set_state(self, state: dict) -> None:
        self._parent.set_state(state["batches"])
        self.skipped = state["skipped"]

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
      seed: of the order and the augmentations, 0 to 2**32 - 1.
      train: forever, shuffled anew each epoch and augmented; else one pass in order, as far as it
        fills batches on all hosts.
      process_index, process_count: which host this is, of how many.
    """
    if not train and len(source) < batch_size * process_count:
        raise UserError(
            f"{len(source)} examples do not fill a batch of {batch_size * process_count}: lower"
            " batch_size or take a larger split"
        )
    records = grain.MapDataset.source(_Readable(source, config.on_error)).seed(seed)
    if train:
        records = records.shuffle().repeat()
    augmented = train and config.augment
    prepare = functools.partial(
        _prepare, steps=_steps(config.augment if train else {}, config.size), tokenizer=tokenizer
    )
    # Before the hosts' shares are cut: what is random belongs to a record's place in the epoch.
    records = records.random_map(prepare) if augmented else records.map(prepare)
    # Whole batches are prefetched, not records: a future for each of those is what grain spends
    # most of its time on.
    whole = records.batch(batch_size, drop_remainder=True, batch_fn=_stack)
    mine = whole[process_index : len(whole) - len(whole) % process_count : process_count]
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch)
    return Batches(iter(mine.to_iter_dataset(options)))


class _Readable:
    """A source in which the next readable record stands for one that is not, if that is wanted."""

    def __init__(self, source: Source, on_error: str):
        self._source, self._on_error = source, on_error

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        for skipped in range(len(self)):
            try:
                example = self._source[(index + skipped) % len(self)]
                return {**example, "skipped": skipped}
            except UserError as error:
                if self._on_error == "raise":
                    raise UserError(f"{error} (data.on_error=skip passes over it)") from error
        raise UserError(f"data.source: none of its {len(self)} records can be read")


def _steps(augment, size: int) -> list[Step]:
    """What is done to an example, in order; the first step brings the image to `size`."""
    for name in augment:
        if name not in AUGMENTATIONS:
            raise UserError(f"data.augment.{name}: unknown name; {nearest(name, AUGMENTATIONS)}")
    steps = {
        name: build(
            AUGMENTATIONS, {**augment[name], "name": name}, f"data.augment.{name}", size=size
        )
        for name in AUGMENTATIONS
        if name in augment
    }
    first = steps.pop("crop", lambda example, _: {**example, "image": fit(example["image"], size)})
    return [first, *steps.values()]


def _prepare(
    example: Example,
    rng: np.random.Generator | None = None,
    *,
    steps: Sequence[Step],
    tokenizer: Tokenizer,
) -> dict[str, np.ndarray | int]:
    for step in steps:
        example = step(example, rng)
    prepared = {key: example[key] for key in ("image", "label", "skipped") if key in example}
    return prepared | {"tokens": tokenizer.encode(example["text"])}


def _stack(examples: Sequence[dict]) -> Batch:
    batch = {key: np.stack([e[key] for e in examples]) for key in ("image", "tokens")}
    for key in ("label", "skipped"):
        if key in examples[0]:
            batch[key] = np.array([e[key] for e in examples], np.int32)
    return batch
