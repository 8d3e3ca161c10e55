"""Questions: their answers are what the scene says."""

import collections

import pytest

from vismem import worlds
from vismem.worlds.claims import MARGIN, NINTHS
from vismem.worlds.questions import SORTS
from vismem.worlds.scene import PRESETS
from vismem.worlds.world import LANGUAGES


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", PRESETS)
def test_the_answers_claim_is_true_and_every_sort_is_asked(name, lang):
    world, asked = worlds.world(name), collections.defaultdict(collections.Counter)
    for i in range(600):
        example = world.example("train", i, lang)
        for question in example.questions(i):
            assert question.claim.holds(example.scene, MARGIN), question
            asked[question.about][question.answer] += 1
    assert set(asked) == {*SORTS}
    yes, no = (LANGUAGES[lang].words["answer"][truth][0] for truth in (True, False))
    for sort in ("exist", "compare", "relation"):
        # Neither answer can be guessed.
        assert set(asked[sort]) == {yes, no}
        assert 0.35 < asked[sort][yes] / asked[sort].total() < 0.7, sort
    assert len(asked["count"]) >= 3
    assert set(asked["place"]) == {LANGUAGES[lang].words["place"][place][0] for place in NINTHS}
    assert min(asked["place"].values()) > 0.05 * asked["place"].total()


def test_counts_and_attributes_agree_with_the_words_of_the_question():
    world = worlds.world("tiny")
    counted = named = 0
    for i in range(600):
        example = world.example("train", i)
        things = example.scene.things
        for question in example.questions():
            words = question.text.rstrip("?").split()
            if question.about == "count" and words[:2] == ["how", "many"]:
                rest = words[2 : words.index("are")]
                if len(rest) == 2 and rest[1] in ("things", "objects", "shapes"):
                    matching = [t for t in things if rest[0] in (t.color, t.size)]
                    if rest[0] in ("small", "large", *world.preset.colors):
                        assert question.answer == str(len(matching)), question
                        counted += 1
            if question.about == "attribute" and words[:2] == ["what", "colour"]:
                (thing,) = [
                    t for t in things if question.claim.things[0]._replace(color=None).matches(t)
                ]
                assert question.answer == thing.color
                named += 1
    assert counted > 30
    assert named > 30


def test_another_index_asks_something_else():
    example = worlds.world("default").example("train", 0)
    assert example.questions(0) == example.questions(0)
    assert len({q.text for i in range(10) for q in example.questions(i)}) > 20
