"""Conversations: repeatable, in splits that share nothing, with near misses that are false."""

import collections
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from vismem import worlds
from vismem.errors import UserError
from vismem.worlds import oracle
from vismem.worlds.captions import ninth
from vismem.worlds.claims import MARGIN
from vismem.worlds.dialogue import SPLITS
from vismem.worlds.instructions import Add, Beside
from vismem.worlds.scores import object_scores, recovered, relation_similarity
from vismem.worlds.speaker import FORMS


def content(scene) -> tuple:
    return tuple(sorted((t.shape, t.color, t.size, ninth(t)) for t in scene.things))


@pytest.mark.parametrize("name", FORMS)
def test_near_misses_and_turns_are_false_of_each_other(name):
    changed = collections.Counter()
    for index in range(25):
        talk = worlds.dialogue(name).example("train", index)
        for i, turn in enumerate(talk.turns):
            miss = talk.near_miss(i, index)
            assert miss.claim.holds(miss.scene, MARGIN)
            assert not miss.claim.holds(turn.scene, -MARGIN), (turn.text, miss.text)
            assert not turn.claim.holds(miss.scene, -MARGIN), (turn.text, miss.text)
            changed[type(turn.instruction) is type(miss.instruction)] += 1
    assert changed[True] > 3 * changed[False]


@pytest.mark.parametrize("name", FORMS)
def test_the_oracle_accepts_turns_and_refuses_near_misses(name):
    held, accepted = [], []
    for index in range(24):
        talk = worlds.dialogue(name).example(SPLITS[index % 4], index)
        for i, turn in enumerate(talk.turns):
            read = oracle.read(talk.image(i, 32))
            held.append(turn.claim.holds(read) and recovered(turn.scene, read))
            accepted.append(talk.near_miss(i).claim.holds(read))
            if turn.scene.things:
                assert object_scores(turn.scene, read).f1 == 1
                assert relation_similarity(turn.scene, read) >= 0.5
    assert np.mean(held) >= 0.99
    assert not any(accepted)


def test_splits_share_no_final_scene_and_none_but_one_has_the_held_out_pairs():
    dialogue = worlds.dialogue("tiny")
    told = {
        split: [dialogue.example(split, i) for i in range(n)]
        for split, n in (("train", 200), ("val", 40), ("test", 40), ("compositional", 40))
    }
    final = {split: {content(t.scenes[-1]) for t in talks} for split, talks in told.items()}
    assert not final["train"] & (final["val"] | final["test"])
    assert not final["val"] & final["test"]
    for split, talks in told.items():
        for talk in talks:
            scenes = [*talk.scenes, talk.near_miss(0).scene] if split == "train" else talk.scenes
            shown = {(t.shape, t.color) for scene in scenes for t in scene.things}
            assert bool(shown & dialogue.held_out) == (split == "compositional")


def test_turns():
    dialogue = worlds.dialogue("tiny")
    counts = collections.Counter(len(dialogue.example("train", i).turns) for i in range(200))
    assert set(counts) == set(range(1, 9))
    assert len(dialogue.example("train", 0, turns=8).turns) == 8
    talk = dialogue.example("train", 1, turns=3)
    assert len(talk.texts) == len(talk.scenes) == len(talk.claims) == len(talk.needs_memory) == 3
    assert talk.image(2, 40).shape == (40, 40, 3)


def test_the_iclevr_form_adds_five_things_each_beside_earlier_ones():
    relations = collections.Counter()
    for index in range(40):
        talk = worlds.dialogue("iclevr").example("train", index)
        assert [len(scene.things) for scene in talk.scenes] == [1, 2, 3, 4, 5]
        assert len({(t.shape, t.color) for t in talk.scenes[-1].things}) == 5
        for turn in talk.turns:
            assert isinstance(turn.instruction, Add)
            relations[len([w for w in turn.instruction.where if isinstance(w, Beside)])] += 1
    assert relations[0] == 40
    assert relations[2] > 10


def test_both_shares_are_reported():
    for name, least in (("tiny", 0.2), ("iclevr", 0.0)):
        shares = worlds.dialogue(name).shares(count=100)
        assert least < shares["needs memory"] < 0.5
        assert shares["needs memory"] + shares["canvas suffices"] == pytest.approx(1)
    assert set(shares) == {"needs memory", "canvas suffices", "Add"}


PRINT = """
import json
from vismem import worlds
talks = [worlds.dialogue("tiny").example("train", i, "mixed") for i in range(10)]
print(json.dumps([(t.texts, str(t.scenes), t.needs_memory, t.near_miss(0).text) for t in talks]))
"""


def test_conversations_are_the_same_in_every_process():
    rows = []
    for hash_seed in "12":
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        output = subprocess.check_output([sys.executable, "-c", PRINT], env=environment)
        rows.append(json.loads(output))
    assert rows[0] == rows[1]


def test_a_conversation_depends_on_seed_split_and_index_alone():
    dialogue = worlds.dialogue("tiny")
    first = dialogue.example("train", 7)
    dialogue.example("train", 8)
    assert dialogue.example("train", 7) == first
    others = [
        worlds.dialogue("tiny", 1).example("train", 7),
        dialogue.example("val", 7),
        dialogue.example("train", 6),
    ]
    assert all(other.scenes != first.scenes for other in others)
    langs = {dialogue.example("train", i, "mixed").lang for i in range(20)}
    assert langs == {"en", "zh"}


def test_mistakes_are_named():
    dialogue = worlds.dialogue("tiny")
    for call, message in (
        (lambda: worlds.dialogue("tinny"), "did you mean 'tiny'"),
        (lambda: worlds.dialogue("tiny", -1), "seed=-1"),
        (lambda: dialogue.example("trian", 0), "did you mean 'train'"),
        (lambda: dialogue.example("train", -1), "index=-1"),
        (lambda: dialogue.example("train", 0, "fr"), "lang='fr'"),
        (lambda: dialogue.example("train", 0, turns=9), "turns=9; there are 1 to 8"),
        (lambda: dialogue.example("train", 0, turns=0), "turns=0"),
    ):
        with pytest.raises(UserError, match=message):
            call()
