from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import pytest

from vismem import registry
from vismem.errors import UserError


@dataclass
class Brush:
    width: int
    color: str = "red"
    hardness: float = 0.5
    ends: tuple[int, int] | None = None


class Layer(nn.Module):
    features: int
    act: Literal["gelu", "relu"] = "gelu"


def stroke(length: int, brush: Mapping) -> tuple:
    return length, brush


TABLE = {
    "brush": f"{__name__}:Brush",
    "layer": f"{__name__}:Layer",
    "stroke": f"{__name__}:stroke",
}


def test_builds_from_options_and_what_is_given():
    brush = registry.build(TABLE, {"name": "brush", "hardness": 1, "ends": [1, 2]}, "tool", width=3)
    assert brush == Brush(width=3, hardness=1, ends=[1, 2])


def test_a_component_is_given_only_what_it_declares():
    layer = registry.build(TABLE, {"name": "layer"}, "tool", features=4, width=3)
    assert (layer.features, layer.act) == (4, "gelu")
    assert registry.build(TABLE, {"name": "stroke", "length": 2}, "t", brush={}) == (2, {})


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"name": "brash"}, "tool.name: unknown name 'brash'; did you mean 'brush'?"),
        ({"width": 1}, "tool: needs a 'name'; known: brush, layer, stroke"),
        ({"name": "brush", "colour": "red"}, "tool.colour.*did you mean 'color'?"),
        ({"name": "brush", "hardness": "soft"}, "tool.hardness='soft': expected float, not str"),
        ({"name": "brush", "hardness": True}, "tool.hardness=True: expected float, not bool"),
        ({"name": "brush", "ends": (1, 2, 3)}, "tool.ends=.*expected"),
        ({"name": "layer", "act": "tanh"}, r"tool.act='tanh': expected Literal\['gelu', 'relu'\]"),
        # What the caller gives is not for the config to set.
        ({"name": "brush", "width": 1}, "tool.width"),
        ({"name": "stroke"}, "tool: stroke is missing a required argument: 'length'"),
    ],
)
def test_a_bad_choice_is_one_line(choice, line):
    with pytest.raises(UserError, match=line) as error:
        registry.build(TABLE, choice, "tool", width=3, features=4)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
        (None, int | None, True),
        (((("a", 1.0),)), tuple[tuple[str, float], ...], True),
        ((("a", "b"),), tuple[tuple[str, float], ...], False),
        ({"a": 1}, Mapping[str, int], True),
        ({"a": 1}, Mapping[str, Mapping], False),
        ({"a": {}}, Mapping[str, Mapping[str, int]], True),
        (5, Mapping, False),
    ],
)
def test_types(value, annotation, fits):
    if fits:
        registry.check_type(value, annotation, "key")
    else:
        with pytest.raises(UserError, match=r"^key="):
            registry.check_type(value, annotation, "key")
