import json

import pytest
from PIL import Image

from vismem.errors import UserError
from vismem.reports import compare, curves


@pytest.fixture
def run(tmp_path):
    lines = [{"step": s, "loss": 1 / s, "critic/grad_norm": 0.1} for s in range(1, 41)]
    lines += [{"step": 20, "val/loss": 0.1, "test/exact_claim": 0.5, "vague/exact_claim": 0.2}]
    lines += [{"step": 40, "val/loss": 0.05, "test/exact_claim": 0.75, "test/rsim": 0.8}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_reads_each_number_at_its_step(run):
    read = curves.read(run)
    assert read["test/exact_claim"] == ([20, 40], [0.5, 0.75])
    assert len(read["loss"][0]) == len(read["loss"][1]) == 40
    assert "critic/grad_norm" not in read


def test_seconds_lie_in_proportion_between_those_that_are_known(run):
    """Evaluations fall between the steps that are logged. Those of the part of a run that was cut
    off and taken again come first."""
    times = [(1, 2.0), (30, 40.0), (16, 6.0), (24, 10.0), (30, 20.0)]
    known = [json.dumps({"step": step, "seconds": seconds}) for step, seconds in times]
    (run / "timings.jsonl").write_text("\n".join(known))
    read = curves.read(run, "seconds")
    assert read["test/exact_claim"] == ([8.0, 20.0], [0.5, 0.75])  # steps 20, and 40 after the last
    assert read["loss"][0][0] == 2
    assert read["loss"][0] == sorted(read["loss"][0])
    (run / "timings.jsonl").write_text("")
    with pytest.raises(UserError, match="no times yet"):
        curves.read(run, "seconds")


def test_parts_of_a_measure_share_its_panel(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "test/exact_claim, turn 1": 0.9, "test/exact_claim, low": 0.7}\n')
    assert Image.open(curves.save(run)[1]).width == 2 * Image.open(curves.save(run)[0]).width


def test_saves_losses_and_measures_apart(run):
    paths = curves.save(run)
    assert [p.relative_to(run).as_posix() for p in paths] == [
        "figures/loss.png",
        "figures/accuracy.png",
    ]
    widths = [Image.open(p).width for p in paths]
    assert widths[1] == 2 * widths[0]  # a panel for exact_claim, one for rsim


def test_a_panel_holds_a_line_a_split():
    splits = {"test": ([1], [0.5]), "vague": ([1, 2], [0.1, 0.2])}
    (axes,) = curves.draw({"exact_claim": splits}).axes
    assert axes.get_title() == "exact_claim"
    assert {line.get_label(): tuple(line.get_ydata()) for line in axes.lines} == {
        "test": (0.5,),
        "vague": (0.1, 0.2),
    }


def test_no_metrics_is_a_user_s_error(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        curves.save(tmp_path)


def test_panels_fill_rows_of_four():
    panels = curves.draw({str(i): {"run": ([1, 2], [0.1, 0.2])} for i in range(6)}).axes
    corners = {tuple(axes.get_subplotspec().get_geometry()[:3]) for axes in panels}
    assert corners == {(2, 4, i) for i in range(6)}


def test_two_runs_are_compared_by_the_curves_of_both(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "rows/read": 1.0}\n')
    drawn = {axes.get_title(): axes for axes in compare.draw(run, run).axes}
    assert list(drawn) == ["loss", "val/loss", "test/exact_claim"]  # the others have one number
    assert [axes.get_yscale() for axes in drawn.values()] == ["log", "log", "linear"]
