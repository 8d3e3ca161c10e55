import json

import numpy as np
import pytest

from vismem.data import DataConfig, pipeline
from vismem.data.tokenizers import ByteTokenizer
from vismem.errors import UserError

SIZE = 16
AUGMENT = {"crop": {}, "flip": {}, "affine": {"rotate": 5.0}, "color": {"hue": 0.1}, "blur": {}}


class Numbers:
    """Record i is a noise picture, labelled and captioned with i; those in `bad` cannot be read."""

    def __init__(self, count=50, bad=(), labels=True):
        self.count, self.bad, self.labels = count, bad, labels

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.bad:
            raise UserError(f"{index}.png: cannot be decoded")
        image = np.random.default_rng(index).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        return {"image": image, "text": f"number {index}"} | (
            {"label": index} if self.labels else {}
        )


@pytest.fixture
def opened():
    """Makes iterators, and closes them after the test."""
    made = []

    def make(
        source=None, batch_size=10, seed=0, train=True, index=0, count=1, counts=True, **config
    ):
        config = DataConfig(size=SIZE, **config)
        made.append(
            pipeline.batches(
                config,
                source or Numbers(),
                ByteTokenizer(12),
                batch_size,
                seed,
                train,
                index,
                count,
                counts,
            )
        )
        return made[-1]

    yield make
    for iterator in made:
        iterator.close()


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def equal(a, b):
    return all(
        x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)
        for x, y in zip(a, b, strict=True)
    )


def test_a_batch_is_arrays_of_matching_records(opened):
    batch = next(opened())
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
        "image": ((10, SIZE, SIZE, 3), np.uint8),
        "tokens": ((10, 12), np.int32),
        "label": ((10,), np.int32),
    }
    for image, tokens, label in zip(batch["image"], batch["tokens"], batch["label"]):
        example = Numbers()[int(label)]
        assert (image == example["image"]).all()
        assert (tokens == ByteTokenizer(12).encode(example["text"])).all()
    assert next(opened(Numbers(labels=False))).keys() == {"image", "tokens"}


class Said(Numbers):
    """Conversations of two turns, of which the second is empty; prompts and near misses."""

    def __getitem__(self, index):
        image, text = np.zeros((2, SIZE, SIZE, 3), np.uint8), f"number {index}"
        said = {"texts": (text, ""), "mask": (True, False), "prompt": text}
        return {"image": image, **said, "near_misses": (text, text)}


def test_texts_of_training_alone_are_padded_to_less(opened):
    whole, padded = next(opened()), next(opened(pad_to=9))
    assert padded["tokens"].shape == (10, 9)
    assert (padded["tokens"] == whole["tokens"][:, :9]).all()
    assert (padded["image"] == whole["image"]).all()
    assert equal(take(opened(train=False, pad_to=9), 2), take(opened(train=False), 2))
    said = next(opened(Said(), pad_to=9))
    assert said["tokens"].shape == (10, 2, 9)
    assert said["prompt_tokens"].shape == (10, 9)
    assert said["near_miss_tokens"].shape == (10, 2, 9)


def test_every_epoch_has_every_record_in_another_order(opened):
    iterator = opened(batch_size=10)
    epochs = [np.concatenate([b["label"] for b in take(iterator, 5)]) for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(50))
    assert len({e.tobytes() for e in epochs}) == 3


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_function_of_the_seed(opened, threads):
    reference = take(opened(augment=AUGMENT), 8)
    assert equal(take(opened(augment=AUGMENT, threads=threads), 8), reference)
    for seed in (1, -1, 2**40 + 1):
        assert not equal(take(opened(augment=AUGMENT, seed=seed), 8), reference)


def test_augmentation_is_new_in_every_epoch(opened):
    seen = {}
    for batch in take(opened(augment=AUGMENT), 20):
        for image, label in zip(batch["image"], batch["label"]):
            seen.setdefault(int(label), set()).add(image.tobytes())
    assert all(len(pictures) == 4 for pictures in seen.values())


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_the_batch_of_one(opened, hosts, train):
    source = Numbers(64, bad={3, 40})
    options = {"augment": AUGMENT, "on_error": "skip", "train": train}
    whole = opened(source, batch_size=16, **options)
    parts = [
        opened(source, batch_size=16 // hosts, index=i, count=hosts, **options)
        for i in range(hosts)
    ]
    for _ in range(4 if not train else 9):
        batches = [next(part) for part in parts]
        joined = {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}
        assert equal([joined], [next(whole)])
    assert sum(part.skipped for part in parts) == whole.skipped > 0


@pytest.mark.parametrize("threads", [0, 2])
def test_restarts_exactly(opened, threads):
    options = {
        "augment": AUGMENT,
        "on_error": "skip",
        "threads": threads,
        "source": Numbers(bad={7, 8, 30}),
    }
    uninterrupted = opened(**options)
    take(uninterrupted, 7)  # within the second epoch
    state = json.loads(json.dumps(uninterrupted.get_state()))
    rest = take(uninterrupted, 9)
    fresh, used = opened(**options), opened(**options)
    take(used, 11)
    for resumed in (fresh, used):
        resumed.set_state(state)
        assert equal(take(resumed, 9), rest)
        assert resumed.skipped == uninterrupted.skipped
        assert resumed.get_state() == uninterrupted.get_state()


@pytest.mark.parametrize("augment", [{}, AUGMENT, {"blur": {}}])
def test_kept_records_are_the_same(opened, augment):
    options = {"augment": augment, "on_error": "skip", "source": Numbers(bad={7})}
    assert equal(take(opened(**options, cache=50), 20), take(opened(**options), 20))
    source = Numbers()
    iterator = opened(source=source, cache=50)
    take(iterator, 5)
    source.bad = range(50)  # nothing is read any more
    take(iterator, 20)


def test_errors_are_raised_by_name(opened):
    for threads in (0, 1):
        with pytest.raises(UserError, match=r"^7\.png: cannot be decoded \(data\.on_error=skip"):
            take(opened(Numbers(bad={7}), threads=threads), 5)


def test_skipped_records_are_replaced_and_counted(opened):
    iterator = opened(Numbers(bad={7, 8, 49}), on_error="skip")
    labels = np.concatenate([b["label"] for b in take(iterator, 5)])
    counts = np.bincount(labels, minlength=50)
    assert (counts[[7, 8, 49]] == 0).all()
    assert counts.sum() == 50
    assert counts[9] == 3  # for 7 and 8, and itself
    assert counts[0] == 2  # after the last comes the first
    assert iterator.skipped == 4  # 7 passed over 8 too
    take(iterator, 5)
    assert iterator.skipped == 8


def test_what_two_hosts_skip_together_is_counted_once(opened):
    source, options = Numbers(bad={7, 8}), {"on_error": "skip", "count": 2, "batch_size": 5}
    readers = [
        opened(source, index=part, counts=first, **options)
        for part, first in ((0, True), (0, False), (1, True), (1, False))
    ]
    batches = [take(reader, 5) for reader in readers]
    assert equal(batches[0], batches[1])
    assert equal(batches[2], batches[3])
    assert sum(reader.skipped for reader in readers) == 3  # 7 passed over 8 too
    assert readers[1].get_state()["skipped"] == 0


def test_nothing_to_read(opened):
    with pytest.raises(UserError, match=r"none of its 50 records can be read"):
        next(opened(Numbers(bad=range(50)), on_error="skip"))


def test_without_training_one_pass_in_order(opened):
    batches = list(opened(batch_size=16, train=False, augment=AUGMENT))
    labels = np.concatenate([b["label"] for b in batches])
    assert labels.tolist() == list(range(48))  # the rest does not fill a batch
    assert (batches[0]["image"][5] == Numbers()[5]["image"]).all()
    uneven = [list(opened(batch_size=10, train=False, index=i, count=2)) for i in range(2)]
    assert [len(batches) for batches in uneven] == [2, 2]
    with pytest.raises(UserError, match=r"50 examples do not fill a batch of 64"):
        opened(batch_size=32, train=False, count=2)


def test_training_set_smaller_than_a_batch(opened):
    labels = next(opened(Numbers(3), batch_size=9))["label"]
    assert sorted(labels) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"augment": {"flpi": {}}}, r"data\.augment\.flpi: unknown name; did you mean 'flip'"),
        ({"augment": {"flip": {"side": "swap"}}}, r"data\.augment\.flip\.side: .*'sides'"),
        ({"augment": {"flip": {"sides": "no"}}}, r"data\.augment\.flip\.sides='no': unknown name"),
        ({"augment": {"crop": {"area": (0.9, 0.5)}}}, r"data\.augment\.crop\.area=.*must rise"),
        ({"augment": {"affine": {"zoom": (0, 1)}}}, r"data\.augment\.affine\.zoom=\(0, 1\)"),
        ({"augment": {"color": {"hue": 0.7}}}, r"data\.augment\.color\.hue=\(0, 0\.7\)"),
        ({"augment": {"blur": {"share": -1}}}, r"data\.augment\.blur\.share"),
        ({"pad_to": -1}, r"data\.pad_to=-1: must be at least 0"),
        ({"pad_to": 13}, r"data\.pad_to=13: is more than data\.tokenizer\.length=12"),
        ({"threads": -1}, r"data\.threads=-1: must be at least 0"),
        ({"threads": 4, "prefetch": 2}, r"data\.prefetch=2: must be at least data\.threads=4"),
    ],
)
def test_bad_options(opened, config, message):
    with pytest.raises(UserError, match=message):
        opened(**config)
