from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import pytest

from vismem import registry
from vismem.errors import UserError
from vismem.models import VISION_ENCODERS


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


def variant(name: str) -> dict:
    if name != "12":
        raise UserError(f"variant={name!r}: unknown brush")
    return {"hardness": 1.2, "color": "blue"}


TABLE = {
    "brush": f"{__name__}:Brush",
    "layer": f"{__name__}:Layer",
    "stroke": f"{__name__}:stroke",
}


def test_builds_from_options_and_what_is_given():
    brush = registry.build(TABLE, {"name": "brush", "hardness": 1, "ends": [1, 2]}, "tool", width=3)
    assert brush == Brush(width=3, hardness=1, ends=[1, 2])


@pytest.mark.parametrize("name", ["12", 12])
def test_a_variant_stands_for_options(name):
    brush = registry.build(
        TABLE, {"name": "brush", "variant": name, "color": "green"}, "tool", width=3
    )
    assert brush == Brush(width=3, hardness=1.2, color="green")


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("variant", "Ti/16", None),
        ("variant", "Tii/16", "^vision.variant='Tii/16': unknown size 'Tii'; did you mean 'Ti'"),
        ("variant", "Ti", "^vision.variant='Ti': needs the patch in pixels"),
        ("varient", "Ti/16", "^vision.varient: unknown key; did you mean 'variant'"),
    ],
)
def test_the_usual_vision_encoders_by_variant(option, value, line):
    choice = {"name": "vit", option: value, "layers": 2}
    if line is None:
        built = registry.build(VISION_ENCODERS, choice, "vision")
        assert (built.patch, built.width, built.heads, built.layers) == (16, 192, 3, 2)
    else:
        with pytest.raises(UserError, match=line):
            registry.build(VISION_ENCODERS, choice, "vision")


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
        ({"name": "layer", "act": "relo"}, "tool.act='relo': unknown name; did you mean 'relu'?"),
        ({"name": "layer", "act": "tanh"}, "tool.act='tanh': unknown name; known: gelu, relu"),
        ({"name": "layer", "act": 1}, r"tool.act=1: expected Literal\['gelu', 'relu'\], not int"),
        ({"name": "brush", "variant": "13"}, "tool.variant='13': unknown brush"),
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
