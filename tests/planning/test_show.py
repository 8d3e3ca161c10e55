"""A plan made up, its bound by hand, and what is said of it."""

import dataclasses
import io

import pytest
from rich.console import Console

from vismem.planning import show
from vismem.planning.chips import Chip
from vismem.planning.collectives import Traffic
from vismem.planning.plan import Plan

G = 2**30
PLAN = Plan(
    chip=Chip(flops=100e12, memory=16 * G, bandwidth=1e12, interconnect=100e9),
    mesh={"slices": 1, "data": 2, "fsdp": 4, "tensor": 1},
    batch_size=64,
    parameters=10**6,
    state={"params": G, "opt": 2 * G, "ema": G, "batch": 0},
    working=4 * G,
    gradients=G,
    available=None,
    model_flops=300 * 10**12,
    flops=400 * 10**12,
    collectives={"all-gather": Traffic(count=3, bytes=10**10)},
    compile_seconds=1.0,
)


def said(call, *arguments):
    console = Console(file=io.StringIO(), width=120)
    call(*arguments, console=console)
    return console.file.getvalue()


def cells(text):
    """What a table has in its second column, by its first."""
    rows = (line.split("│") for line in text.splitlines() if line.count("│") == 3)
    return {name.strip(): value.strip() for _, name, value, _ in rows}


def test_the_bound():
    assert PLAN.bounds == {
        "products": pytest.approx(0.5),  # 400 of 8 x 100 TFLOP
        "memory": pytest.approx(2 * 8 * G / 1e12),
        "interconnect": pytest.approx(0.1),
    }
    assert PLAN.seconds == pytest.approx(0.5)
    assert PLAN.mfu == pytest.approx(0.75)


def test_a_plan_that_fits():
    text = said(show.show, PLAN, "a run")
    for part in ("8.000 of 16.00", "3 x all-gather", "500.0 ms", "MFU at most 75%"):
        assert part in text
    assert "does not fit" not in text
    rows = cells(text)
    assert (rows["model"], rows["products computed"]) == ("300.00 TFLOP (75%)", "400.00 TFLOP")


def test_gradients_have_a_row_of_their_own():
    rows = cells(said(show.show, PLAN, "a run"))
    assert (rows["gradients"], rows["activations, program"]) == ("1.000", "3.000")
    few = dataclasses.replace(PLAN, gradients=5 * G)  # which the program does not hold at once
    rows = cells(said(show.show, few, "a run"))
    assert (rows["gradients"], rows["activations, program"]) == ("4.000", "0.000")


def test_a_plan_that_does_not():
    plan = dataclasses.replace(PLAN, collectives=None, available=7 * G)
    text = said(show.show, plan, "a run")
    assert "1.0 M parameters; a step of 64 does not fit: 1.00 GiB a chip too much" in text
    assert "interconnect" not in text
    changes = {"painter.remat": "dots", "mesh.fsdp": 4}
    text = said(show.remedy, changes, PLAN)
    assert "fits with painter.remat=dots mesh.fsdp=4: data=2 fsdp=4 batch_size=64" in text
    assert "another experiment" not in text
    text = said(show.remedy, {"batch_size": 32}, PLAN)
    assert "fits with batch_size=32: " in text
    assert "another experiment, not only another layout" in text
    assert "no two changes" in said(show.remedy, {}, plan)


def test_the_best_of_several_is_the_one_with_most_pictures_a_second():
    slow = dataclasses.replace(PLAN, flops=2 * PLAN.flops)
    large = dataclasses.replace(PLAN, batch_size=10_000, collectives=None)
    lines = said(show.compare, [slow, PLAN, large]).splitlines()
    assert lines[-1] == f"best: {lines[1]}"
    assert "128 pictures/s" in lines[1]
    assert lines[2].endswith("does not fit")


def test_nothing_fits():
    plans = [dataclasses.replace(PLAN, collectives=None, available=size * G) for size in (6, 7)]
    *_, last = said(show.compare, plans).splitlines()
    assert last == "nothing fits; at best 1.00 GiB a chip are too much"
