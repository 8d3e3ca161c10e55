"""Texts under pictures can be read."""

import logging

import numpy as np
import pytest

from vismem import worlds
from vismem.drawing import sheets


@pytest.fixture
def fonts():
    """Looked for anew, in the test and after it."""
    sheets._font.cache_clear()
    yield
    sheets._font.cache_clear()


def test_every_chinese_letter_of_the_world_has_a_picture_of_its_own(fonts):
    world = worlds.world("default")
    letters = sorted({c for i in range(300) for c in world.example("test", i, lang="zh").text})
    assert len(letters) > 60
    font = sheets.font("红")
    drawn = {font.getmask(letter).getbbox() and bytes(font.getmask(letter)) for letter in letters}
    assert len(drawn) == len(letters)  # boxes would all be alike


def test_a_font_that_is_missing_is_named_once(fonts, monkeypatch, caplog):
    monkeypatch.setattr(sheets, "_cjk_fonts", lambda: [("missing.ttf", 0)])
    image = np.zeros((1, 8, 8, 3), np.uint8)
    with caplog.at_level(logging.WARNING):
        sheets.grid(image, ["a red circle"])
        assert not caplog.messages
        sheets.grid(image, ["红色的圆"])
        sheets.grid(image, ["蓝色的星"])
    [said] = caplog.messages
    assert "fonts-noto-cjk" in said
    assert "vismem[chinese]" in said
