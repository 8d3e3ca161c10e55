"""A program written by hand, whose traffic is known."""

from pathlib import Path

import pytest

from vismem.planning.collectives import Traffic, traffic

PROGRAM = (Path(__file__).parent / "program.hlo").read_text()


def test_traffic():
    assert traffic(PROGRAM) == {
        # One, though it is spread over two fusions: 3/4 of 16 x 64 x 2 bytes.
        "all-gather": Traffic(1, 1536),
        "reduce-scatter": Traffic(1, 192),  # 64 x 4 bytes x 3/4
        "all-reduce": Traffic(3, 3 * 660),  # 3 times 2 x (400 + 40) bytes x 3/4
        "all-to-all": Traffic(1, 35),
        "collective-permute": Traffic(15, 15 * 32),  # 5 times in each of 3
    }


@pytest.mark.parametrize("text", ["", "HloModule empty\n\nENTRY %main () -> f32[] {\n}\n"])
def test_a_program_that_sends_nothing(text):
    assert traffic(text) == {}
