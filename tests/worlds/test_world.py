"""Examples: true, repeatable, and in splits that share nothing."""

import collections
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from vismem import worlds
from vismem.errors import UserError
from vismem.worlds import captions, oracle
from vismem.worlds.claims import MARGIN, NothingElse
from vismem.worlds.scene import PRESETS
from vismem.worlds.world import LANGUAGES, SPLITS, STYLES


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", PRESETS)
def test_captions_hold_and_near_misses_do_not(name, lang, style):
    world = worlds.world(name)
    for i in range(500):
        example = world.example(SPLITS[i % len(SPLITS)], i, lang, style)
        assert example.claim.holds(example.scene, MARGIN), example.text
        for which in range(2):
            miss = example.near_miss(which)
            assert not miss.claim.holds(example.scene, -MARGIN), miss.text
            assert miss.text != example.text


def test_near_misses_change_one_thing_at_a_time():
    changes = collections.Counter()
    for i in range(1000):
        example = worlds.world("tiny").example("train", i, style="fixed")
        before, after = example.claim, example.near_miss().claim
        kinds = sum(
            x != y for a, b in zip(before.things, after.things) for x, y in zip(a, b, strict=True)
        )
        clauses = sum(a != b for a, b in zip(before.clauses, after.clauses, strict=True))
        assert kinds + clauses == 1
        changes["kind" if kinds else type(before.clauses[0]).__name__] += 1
    assert min(changes.values()) > 50
    assert set(changes) == {"kind", "At", "Related"}


def test_near_misses_name_no_pair_that_is_held_out():
    world, unseen = worlds.world("tiny"), collections.Counter()
    for split in ("train", "compositional"):
        for i in range(500):
            things = world.example(split, i).near_miss().claim.things
            unseen[split] += any((t.shape, t.color) in world.held_out for t in things)
    assert unseen["train"] == 0
    assert unseen["compositional"] > 100


@pytest.mark.parametrize(("name", "size"), [("tiny", 32), ("default", 64)])
def test_the_oracle_accepts_captions_and_refuses_near_misses(name, size):
    world, held, accepted = worlds.world(name), [], []
    for i in range(300):
        example = world.example(SPLITS[i % len(SPLITS)], i)
        read = oracle.read(example.image(size))
        held.append(example.claim.holds(read))
        accepted += [example.near_miss(which).claim.holds(read) for which in range(4)]
    assert np.mean(held) >= 0.99
    assert np.mean(accepted) <= 0.001


@pytest.mark.parametrize("name", PRESETS)
def test_fixed_captions_name_everything_and_vague_ones_leave_something_open(name):
    world = worlds.world(name)
    attributes = captions.varied(world.preset)
    for i in range(300):
        example = world.example("train", i, style="fixed")
        assert len(example.claim.things) == len(example.scene.things)
        assert all(getattr(k, a) for k in example.claim.things for a in attributes)
        assert NothingElse() in example.claim.clauses
        assert NothingElse() not in world.example("train", i, style="vague").claim.clauses


def test_most_fixed_captions_of_two_things_say_how_they_lie():
    related = [
        len(worlds.world("tiny").example("train", i, style="fixed", count=2).claim.clauses) == 2
        for i in range(500)
    ]
    assert 0.6 < np.mean(related) < 0.9


def content(scene):
    """What makes scenes the same: the things, and the ninths of the picture they are in."""
    kinds = [(t.shape, t.color, t.size, t.fill, int(3 * t.x), int(3 * t.y)) for t in scene.things]
    return scene.background, *sorted(kinds)


def test_splits_share_no_scene_whatever_the_seed():
    found = collections.defaultdict(set)
    for seed in range(2):
        world = worlds.world("tiny", seed)
        for split in SPLITS:
            for i in range(1500):
                found[split].add(content(world.example(split, i, style="fixed").scene))
    # There are about 500 scenes of one thing: nearly all of them turn up in some split.
    assert len([c for c in set.union(*found.values()) if len(c) == 2]) > 400
    for split in SPLITS:
        for other in SPLITS:
            assert split == other or not found[split] & found[other]


@pytest.mark.parametrize("name", PRESETS)
def test_held_out_pairs_are_seen_in_the_compositional_split_alone(name):
    world = worlds.world(name)
    shapes, colors = zip(*(p for p in world.preset.pairs if p not in world.held_out))
    assert set(shapes) == set(world.preset.shapes)
    assert set(colors) == set(world.preset.colors)
    assert len(world.held_out) == len(world.preset.pairs) // 6
    seen = collections.defaultdict(set)
    for split in SPLITS:
        for i in range(400):
            things = world.example(split, i).scene.things
            pairs = {(t.shape, t.color) for t in things}
            assert bool(pairs & world.held_out) == (split == "compositional")
            assert len(things) in (
                [world.preset.most + 1] if split == "length" else range(1, world.preset.most + 1)
            )
            seen[split] |= pairs
    assert seen["train"] == set(world.preset.pairs) - world.held_out
    assert seen["compositional"] >= world.held_out


PRINT_EXAMPLES = """
import json, zlib
from vismem import worlds
rows = []
for i in range(40):
    example = worlds.world("default", 3).example("train", i, "mixed")
    questions = [(q.text, q.answer) for q in example.questions()]
    rows.append([repr(example.scene), example.text, repr(example.claim), *example.near_miss(1)[:1],
                 questions, zlib.crc32(example.image(32).tobytes())])
print(json.dumps(rows))
"""


def test_examples_are_the_same_in_every_process():
    rows = []
    for hash_seed in "12":
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", PRINT_EXAMPLES]
        rows.append(json.loads(subprocess.check_output(command, env=environment)))
    assert rows[0] == rows[1]
    assert len({text for _, text, *_ in rows[0]}) == 40


def test_an_example_depends_on_seed_split_and_index_alone():
    world = worlds.world("tiny")
    first = world.example("train", 7)
    world.example("train", 8)
    assert world.example("train", 7) == first
    others = [
        worlds.world("tiny", 1).example("train", 7),
        world.example("val", 7),
        world.example("train", 6),
    ]
    assert all(other.scene != first.scene for other in others)
    # Language and style change what is said, not what is there.
    assert world.example("train", 7, "zh", "vague").scene == first.scene


def test_the_number_of_things_can_be_fixed():
    for count in (1, 2):
        for i in range(50):
            example = worlds.world("default").example("test", i, count=count)
            assert len(example.scene.things) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tran"}, "did you mean 'train'"),
        ({"lang": "fr"}, "lang='fr' is unknown"),
        ({"style": "fixd"}, "did you mean 'fixed'"),
        ({"index": -1}, "index=-1"),
        ({"count": 3}, "it has 1 to 2 things"),
        ({"split": "length", "count": 2}, "it has 3 to 5 things"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        worlds.world("tiny").example(**{"split": "train", "index": 0} | arguments)


def test_unknown_presets_are_named():
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        worlds.world("tinny")
