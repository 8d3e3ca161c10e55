"""Texts taken apart: the parts are true of what the whole is true of, and false with it."""

import pytest

from vismem import worlds
from vismem.worlds import clauses


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_clause_follows_from_the_text(lang):
    world, opening = worlds.world("default"), {"en": "there should be ", "zh": "应该是："}[lang]
    for i in range(100):
        example = world.example("test", i, lang=lang)
        parts = clauses.clauses(example.text)
        assert all(world.parse(part, lang).holds(example.scene) for part in parts), parts
        assert all(clauses.wanted(part) == opening + part for part in parts)


def test_what_makes_a_text_false_is_in_a_clause():
    world = worlds.world("default")
    for i in range(100):
        example = world.example("test", i, style="fixed", count=1 + i % 2)
        if len(set(example.claim.things)) == len(example.claim.things):
            parts = clauses.clauses(example.near_miss().text)
            assert not all(world.parse(part).holds(example.scene) for part in parts), parts


def test_the_first_turn_of_a_conversation_is_read_as_a_caption():
    for lang in ("en", "zh"):
        talk = worlds.dialogue("tiny").example("test", 0, lang, 2)
        caption = clauses.caption(talk.texts[0])
        claim = worlds.world("tiny").parse(caption, lang)
        assert claim.holds(talk.scenes[0])
        assert clauses.caption(caption) == caption


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a dog, a cat and a black and white bird", ["a dog", "a cat", "a black and white bird"]),
        ("a dog between a cat and a bird", ["a dog between a cat and a bird"]),
        ("rain and wind", ["rain and wind"]),
    ],
)
def test_a_text_that_no_grammar_reads_is_split_between_things_only(text, parts):
    assert clauses.clauses(text) == parts
