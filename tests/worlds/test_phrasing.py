"""Instructions say the same in both languages, and are read as they were said."""

from random import Random

import pytest

from vismem import worlds
from vismem.errors import UserError
from vismem.worlds.claims import Kind
from vismem.worlds.instructions import (
    Add,
    Again,
    Alter,
    Beside,
    In,
    Move,
    Named,
    PutBack,
    Recalled,
    Remove,
    Swap,
    Undo,
)
from vismem.worlds.phrasing import parse, phrase
from vismem.worlds.world import LANGUAGES

IT, FIRST, BEFORE = map(Recalled, ("it", "first", "before that"))
STAR, SQUARE = Kind("star", "red", "small"), Named(Kind("square"))

# As the issue of the project words them; the usual word of each.
SAID = {
    Add(STAR, (Beside("left of", SQUARE),)): (
        "add a small red star left of the square",
        "在那个正方形的左边画一颗小的红色五角星",
    ),
    Add(STAR, (In("middle"),)): (
        "add a small red star in the middle",
        "在中间画一颗小的红色五角星",
    ),
    Add(STAR, (Beside("above", IT), Beside("right of", SQUARE))): (
        "add a small red star above it and right of the square",
        "在它的上方、那个正方形的右边画一颗小的红色五角星",
    ),
    Add(STAR, (Beside("below left of", IT),)): (
        "add a small red star below and left of it",
        "在它的左下方画一颗小的红色五角星",
    ),
    Again("above right of"): (
        "the same again, but above on the right",
        "再画一个一样的，但在右上方",
    ),
    Again("below"): ("the same again, but below", "再画一个一样的，但在下方"),
    Remove(IT): ("remove it", "去掉它"),
    PutBack(): ("put back what you removed", "把你去掉的放回来"),
    Alter(FIRST, "color", "blue"): ("make the first one blue", "把第一个变成蓝色"),
    Alter(IT, "size", "large"): ("make it large", "把它变大"),
    Alter(IT, "color", None): ("make it the colour it was at the start", "把它变回一开始的颜色"),
    Alter(IT, "size", None): ("make it the size it was at the start", "把它变回一开始的大小"),
    Move(BEFORE, (In("left"),)): (
        "move the one you drew before that to the left edge",
        "把在那之前画的那个移到左边",
    ),
    Move(IT, (Beside("left of", SQUARE),)): (
        "move it left of the square",
        "把它移到那个正方形的左边",
    ),
    Swap(IT, SQUARE): ("swap it and the square", "把它和那个正方形交换位置"),
    Undo(1): ("undo that", "撤销上一步"),
    Undo(2): ("undo the last two", "撤销前两步"),
}

# Other ways to say the same: of what was touched last, "its left".
BESIDE = Add(Kind("square", "blue", "small"), (Beside("left of", IT),))
ALSO = {
    "put a small blue square to its left": BESIDE,
    "add a small blue square on its left": BESIDE,
    "在它左边放一个小的蓝色正方形": BESIDE,
    "把一个小的蓝色正方形放在它的左边": BESIDE,
    "draw a small red star to its right": Add(STAR, (Beside("right of", IT),)),
    "put a small red star above it": Add(STAR, (Beside("above", IT),)),
    "put a small red star below it": Add(STAR, (Beside("below", IT),)),
    "put a small red star above and to its left": Add(STAR, (Beside("above left of", IT),)),
    "在它右下方放一颗小的红色五角星": Add(STAR, (Beside("below right of", IT),)),
}


class Usual(Random):
    """Never picks a synonym."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize(("instruction", "texts"), SAID.items())
def test_usual_words(instruction, texts):
    for language, text in zip(LANGUAGES.values(), texts):
        assert phrase(instruction, language, Usual()) == text
        assert parse(text, language) == instruction


@pytest.mark.parametrize(("text", "instruction"), ALSO.items())
def test_other_words_for_the_same(text, instruction):
    language = LANGUAGES["en" if text.isascii() else "zh"]
    assert parse(text, language) == instruction
    assert text in {phrase(instruction, language, Random(seed)) for seed in range(3_000)}


def test_its_left_is_said_of_what_is_drawn_beside_it_only():
    """A circle that is moved "to its left" would be moved to its own."""
    for seed in range(300):
        text = phrase(Move(SQUARE, (Beside("left of", IT),)), LANGUAGES["en"], Random(seed))
        assert "its" not in text
    with pytest.raises(UserError, match="cannot be read"):
        parse("move the square to its left", LANGUAGES["en"])


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_said_is_read_the_same_whatever_the_words(lang):
    language, texts = LANGUAGES[lang], {}
    for instruction in SAID:
        for seed in range(30):
            text = phrase(instruction, language, Random(seed))
            assert parse(text, language) == instruction
            assert texts.setdefault(text, instruction) == instruction
    assert len(texts) > 2 * len(SAID)


@pytest.mark.parametrize("name", ["tiny", "iclevr"])
def test_a_conversation_is_the_same_in_both_languages(name):
    dialogue = worlds.dialogue(name)
    for index in range(60):
        english, chinese = (dialogue.example("train", index, lang) for lang in ("en", "zh"))
        assert english.scenes == chinese.scenes
        assert english.claims == chinese.claims
        for turn, other in zip(english.turns, chinese.turns):
            assert parse(turn.text, LANGUAGES["en"]) == turn.instruction
            assert parse(other.text, LANGUAGES["zh"]) == turn.instruction
            assert turn.text.isascii()
            assert not any(letter.isascii() and letter.isalpha() for letter in other.text)


def test_reading_forgives_capitals_and_a_full_stop():
    text = "  Add an orange  circle above it. "
    assert parse(text, LANGUAGES["en"]) == Add(Kind("circle", "orange"), (Beside("above", IT),))


@pytest.mark.parametrize("text", ["", "dance", "remove", "make it", "add a red circle", "画"])
def test_other_texts_are_refused_in_one_line(text):
    for language in LANGUAGES.values():
        with pytest.raises(UserError, match="cannot be read"):
            parse(text, language)
