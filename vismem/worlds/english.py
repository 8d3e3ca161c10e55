"""English words and templates."""

import re

from vismem.worlds.language import Language

_NOUNS = {
    None: ("thing", "object", "shape"),
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "diamond": ("diamond", "rhombus"),
    "cross": ("cross", "plus sign"),
    "star": ("star",),
}

_RELATIONS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def _article(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def _plain(text: str) -> str:
    return re.sub(r"\ban ", "a ", " ".join(text.lower().split()).rstrip("."))


_ADJECTIVES = "[ {size}][ {fill}][ {color}]"

ENGLISH = Language(
    words={
        "noun": _NOUNS,
        "nouns": {shape: tuple(map(_plural, nouns)) for shape, nouns in _NOUNS.items()},
        "color": {
            "red": ("red",),
            "orange": ("orange",),
            "yellow": ("yellow",),
            "green": ("green",),
            "cyan": ("cyan", "turquoise"),
            "blue": ("blue",),
            "purple": ("purple", "violet"),
            "pink": ("pink",),
        },
        "size": {"small": ("small", "little"), "large": ("large", "big")},
        "fill": {
            "solid": ("solid", "filled"),
            "outline": ("outlined", "hollow"),
            "striped": ("striped",),
        },
        "background": {
            "white": ("white",),
            "grey": ("grey", "gray"),
            "black": ("black",),
            "navy": ("navy",),
        },
        "place": {
            "top left": ("in the top left", "in the upper left"),
            "top": ("at the top",),
            "top right": ("in the top right", "in the upper right"),
            "left": ("on the left",),
            "middle": ("in the middle", "in the centre", "in the center"),
            "right": ("on the right",),
            "bottom left": ("in the bottom left", "in the lower left"),
            "bottom": ("at the bottom",),
            "bottom right": ("in the bottom right", "in the lower right"),
            "left half": ("in the left half",),
            "right half": ("in the right half",),
            "top half": ("in the top half", "in the upper half"),
            "bottom half": ("in the bottom half", "in the lower half"),
        },
        "relation": _RELATIONS,
        "side": {
            **_RELATIONS,
            "above left of": ("above and left of", "above and to the left of"),
            "above right of": ("above and right of", "above and to the right of"),
            "below left of": ("below and left of", "below and to the left of"),
            "below right of": ("below and right of", "below and to the right of"),
        },
        "its_side": {
            "left of": ("to its left", "on its left"),
            "right of": ("to its right", "on its right"),
            "above": ("above it", "over it"),
            "below": ("below it", "under it"),
            "above left of": ("above and to its left",),
            "above right of": ("above and to its right",),
            "below left of": ("below and to its left",),
            "below right of": ("below and to its right",),
        },
        "to": {
            "top left": ("to the top left", "to the upper left"),
            "top": ("to the top",),
            "top right": ("to the top right", "to the upper right"),
            "left": ("to the left edge",),
            "middle": ("to the middle", "to the centre", "to the center"),
            "right": ("to the right edge",),
            "bottom left": ("to the bottom left", "to the lower left"),
            "bottom": ("to the bottom",),
            "bottom right": ("to the bottom right", "to the lower right"),
        },
        "direction": {
            "left of": ("to the left", "on the left"),
            "right of": ("to the right", "on the right"),
            "above": ("above",),
            "below": ("below",),
            "above left of": ("above on the left", "above to the left"),
            "above right of": ("above on the right", "above to the right"),
            "below left of": ("below on the left", "below to the left"),
            "below right of": ("below on the right", "below to the right"),
        },
        "way": {
            "left of": ("left",),
            "right of": ("right",),
            "above": ("up",),
            "below": ("down",),
        },
        "recalled": {
            "it": ("it",),
            "first": ("the first one", "the first one you drew"),
            "before that": ("the one you drew before that", "the one you drew just before that"),
        },
        "steps": {
            1: ("undo that", "take that back"),
            2: ("undo the last two", "take the last two steps back"),
            3: ("undo the last three", "take the last three steps back"),
        },
        "number": {2: ("two",), 3: ("three",), 4: ("four",), 5: ("five",)},
        "attribute": {
            "shape": ("shape",),
            "color": ("colour", "color"),
            "size": ("size",),
            "fill": ("fill",),
        },
        "answer": {True: ("yes",), False: ("no",)},
    },
    templates={
        "a": (
            "something {color}",
            "something {size}",
            "something {fill}",
            f"a{_ADJECTIVES} {{noun}}",
        ),
        "the": (f"the{_ADJECTIVES} {{noun}}",),
        "none": (f"no{_ADJECTIVES} {{noun}}", f"no{_ADJECTIVES} {{nouns}}"),
        "one": (f"exactly one{_ADJECTIVES} {{noun}}", f"only one{_ADJECTIVES} {{noun}}"),
        "many": (
            f"{{number}}{_ADJECTIVES} {{nouns}}",
            f"exactly {{number}}{_ADJECTIVES} {{nouns}}",
        ),
        "kinds": ("[{size} ][{fill} ][{color} ]{nouns}",),
        "bare": ("{a}",),
        "at": ("{a} {place}",),
        "relation": ("{a} {relation} {b}",),
        "chain": ("{a} {relation} {b} and {second} {c}",),
        "between": ("{a} between {b} and {c}",),
        "row": ("{a} inside the row", "{a} inside a row"),
        "background": ("{text} on a {background} background",),
        "is there": ("is there {a}?",),
        "how many": ("how many {kinds} are there?", "count the {kinds}."),
        "which": ("what {attribute} is {the}?", "which {attribute} does {the} have?"),
        "more": ("are there more {kinds} than {others}?",),
        "same": ("do {the} and {other} have the same {attribute}?",),
        "is it": ("is {the} {relation} {other}?",),
        "where is": ("where is {the}?",),
        "in": ("{place}",),
        "into": ("{to}",),
        "beside": ("{side} {the}",),
        "beside it": ("{side} {the}", "{its_side}"),
        "beside two": ("{side} {the} and {second_side} {other}",),
        "add": ("add {a} {where}", "draw {a} {where}", "put {a} {where}"),
        "again": ("the same again, but {direction}", "the same once more, but {direction}"),
        "remove": ("remove {the}", "delete {the}", "erase {the}"),
        "put back": ("put back what you removed", "bring back what you removed"),
        "alter color": ("make {the} {color}", "paint {the} {color}", "colour {the} {color}"),
        "alter size": ("make {the} {size}",),
        "restore color": ("make {the} the colour it was at the start",),
        "restore size": ("make {the} the size it was at the start",),
        "move": ("move {the} {whither}", "shift {the} {whither}"),
        "swap": ("swap {the} and {other}", "let {the} and {other} change places"),
        "undo": ("{steps}",),
        "restyle color": ("make everything {color}", "paint everything {color}"),
        "restyle fill": ("make everything {fill}",),
        "restyle background": ("make the background {background}",),
        "restore": ("clean the picture", "repair the picture"),
        "there should be": ("there should be {text}",),
        "nothing": ("there should be nothing {place}",),
        "the at": ("{the} {place}",),
        "should be": ("{the} should be {value}",),
        "should be a": ("{the} should be {a}",),
        "should lie": ("{the} should be {where}",),
        "further": ("{the} should be further {way}",),
    },
    joiners=(" and ", ", ", ", and "),
    spell=_article,
    unspell=_plain,
)
