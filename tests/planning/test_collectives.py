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


def test_several_arrays_sent_as_one():
    """As on GPUs: what is sent stands before what arrives."""
    start = "((bf16[2,4]{1,0}, f32[2]{0}), (bf16[8,4]{1,0}, f32[8]{0})) all-gather-start(%a, %b)"
    scatter = "((f32[8]{0}), f32[2]{0}) reduce-scatter-start(%c)"
    groups = "replica_groups=[1,4]<=[4]"
    lines = (f"  %x = {start}, {groups}", f"  %y = {scatter}, {groups}")
    found = traffic("\n".join(["ENTRY %main () -> f32[] {", *lines, "}"]))
    assert found == {
        "all-gather": Traffic(1, (8 * 4 * 2 + 8 * 4) * 3 // 4),
        "reduce-scatter": Traffic(1, 2 * 4 * 3),
    }


@pytest.mark.parametrize("text", ["", "HloModule empty\n\nENTRY %main () -> f32[] {\n}\n"])
def test_a_program_that_sends_nothing(text):
    assert traffic(text) == {}
