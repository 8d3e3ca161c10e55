"""Both languages say what a claim means, and can be read back."""

import re
from random import Random

import pytest

from vismem import worlds
from vismem.errors import UserError
from vismem.worlds.claims import DIRECTIONS, PLACES, Claim, Count, Kind, NothingElse, Related
from vismem.worlds.scene import BACKGROUNDS, COLORS, FILLS, PRESETS, SHAPES, SIZES
from vismem.worlds.world import LANGUAGES

CASES = [
    (
        Claim((Kind("circle", "red", "large"), Kind("square", "blue", "small")),
              (Related("above", (0, 1)), NothingElse())),
        "a large red circle above a small blue square",
        "一个大的红色圆形在一个小的蓝色正方形的上方",
    ),
    (Claim((Kind(color="blue"),)), "something blue", "一个蓝色图形"),
    (Claim((), (Count(Kind(color="red"), 2), Count(Kind("star"), 0))),
     "two red things and no star", "两个红色图形，没有五角星"),
    (Claim((Kind("star", "orange", fill="outline"),)),
     "an outlined orange star", "一颗橙色空心五角星"),
]  # fmt: skip


class Usual(Random):
    """Always picks the usual word."""

    def random(self):
        return 0.0


@pytest.mark.parametrize(("claim", "english", "chinese"), CASES)
def test_the_usual_words(claim, english, chinese):
    for lang, text in (("en", english), ("zh", chinese)):
        assert LANGUAGES[lang].express(claim, Usual(0)) == text
        assert worlds.world("tiny").parse(text, lang) == claim


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_text_read_back_is_its_claim(name, lang):
    world = worlds.world(name)
    for i in range(1000):
        example = world.example("length" if i % 4 == 0 else "train", i, lang)
        assert world.parse(example.text, lang) == example.claim, example.text
        miss = example.near_miss()
        assert world.parse(miss.text, lang) == miss.claim, miss.text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_everything_has_words_and_no_word_has_two_meanings(lang):
    words = LANGUAGES[lang].words
    for slot, known in {
        "noun": (None, *SHAPES),
        "color": COLORS,
        "size": SIZES,
        "fill": FILLS,
        "background": BACKGROUNDS,
        "place": PLACES,
        "relation": DIRECTIONS,
    }.items():
        assert set(words[slot]) == set(known)
    for slot, table in words.items():
        every = [word for several in table.values() for word in several]
        assert len(every) == len(set(every)), slot


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_word_and_template_of_captions_occurs(lang):
    language, world = LANGUAGES[lang], worlds.world("default")
    slots = ("noun", "color", "size", "fill", "background", "place", "relation")
    missing = {w for s in slots for several in language.words[s].values() for w in several}
    missing |= {"en": {"between", "row", "no ", "exactly one", "three"},
                "zh": {"之间", "一排", "没有", "恰好一", "三个"}}[lang]  # fmt: skip
    for i in range(6000):
        text = world.example("length" if i % 2 else "train", i, lang).text
        missing = {word for word in missing if word not in text}
        if not missing:
            break
    assert missing == set()


def test_spelling():
    world = worlds.world("default")
    for i in range(1000):
        english = world.example("train", i, "en").text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  | ,|[{}\[\]]", english), english
        chinese = world.example("train", i, "zh").text
        assert not re.search(r"[a-z {}\[\]]|的的", chinese), chinese


def test_readers_may_write_a_little_differently():
    world = worlds.world("tiny")
    usual = world.parse("a large red circle above a small blue square")
    assert world.parse("A big  red disc over a little blue box.") == usual
    assert world.parse("一个大的红色圆圈在一个小的蓝色方块的上面。", "zh") == usual
    # What there is may come after where it is.
    assert world.parse("一个小的蓝色正方形的上方有一个大的红色圆形", "zh") == usual


@pytest.mark.parametrize("text", ["", "a dog", "a red", "a red circle above", "two red circle or"])
def test_other_texts_are_refused_in_one_line(text):
    with pytest.raises(UserError, match="cannot read") as error:
        worlds.world("tiny").parse(text)
    assert "\n" not in str(error.value)
