"""Near misses on their way from a world to a batch."""

import numpy as np

from vismem import worlds
from vismem.data import DataConfig
from vismem.data.augment import Flip, mirror
from vismem.data.pipeline import batches
from vismem.data.tokenizers import ByteTokenizer
from vismem.data.world import WorldSource


def test_they_are_false_of_their_picture():
    world, source = worlds.world("tiny"), WorldSource("train", 32, "tiny", near_misses=3)
    for i in range(20):
        scene = world.example("train", i).scene
        assert world.parse(source[i]["text"]).holds(scene)
        assert not any(world.parse(text).holds(scene) for text in source[i]["near_misses"])


def test_a_batch_has_their_tokens():
    source = WorldSource("train", 32, "tiny", near_misses=2, examples=8)
    tokenizer = ByteTokenizer(80)
    data = DataConfig(threads=0)
    batch = next(batches(data, source, tokenizer, 4, seed=0, train=False))
    wanted = [[tokenizer.encode(t) for t in source[i]["near_misses"]] for i in range(4)]
    np.testing.assert_array_equal(batch["near_miss_tokens"], wanted)


def test_they_are_mirrored_with_their_picture():
    example = WorldSource("train", 32, "tiny", near_misses=2)[0]
    example["near_misses"] = ("a star left of a cross", "a star at the top")
    flip, rng = Flip(), np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        flipped = flip(example, rng)
        same = np.array_equal(flipped["image"], example["image"])
        seen.add(same)
        texts = example["near_misses"]
        assert flipped["near_misses"] == (texts if same else tuple(map(mirror, texts)))
    assert seen == {True, False}
