import json
import re
import signal
import time

import pytest
import toy
from PIL import Image

from vismem.errors import UserError
from vismem.training import run
from vismem.training.logging import RunLog, keep_lines
from vismem.training.loop import total_steps, train
from vismem.training.meter import Meter
from vismem.training.signals import Signals


def lines(folder):
    return list(map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder and summary."""
    folder = tmp_path_factory.mktemp("run")
    return folder, train(toy.run_config("log_every=5"), folder)


def test_what_a_run_leaves(trained):
    folder, summary = trained
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert (summary["steps"], summary["images"]) == (12, 96)
    assert summary["seconds"] > 0
    assert summary["parameters"] == 192 * 16 + 16 + 16 * 4 + 4
    assert {"jax", "flax", "optax", "vismem"} <= summary["versions"].keys()
    assert [x["step"] for x in lines(folder) if "loss" in x] == [1, 5, 10, 12]
    evaluated = [x for x in lines(folder) if "toy/norm" in x]
    assert [x["step"] for x in evaluated] == [4, 8, 12]
    assert summary["metrics"] == {"toy/norm": evaluated[-1]["toy/norm"]}
    assert list((folder / "tensorboard").iterdir())


def test_it_learns(trained):
    losses = [x["loss"] for x in lines(trained[0]) if "loss" in x]
    assert losses[-1] < 0.2 * losses[0]


def test_evaluate_repeats_the_final_numbers(trained):
    folder, summary = trained
    assert run.evaluate(toy.run_config("log_every=5"), folder) == summary["metrics"]


def test_an_evaluator_without_an_interval_runs_at_the_end(tmp_path):
    summary = train(toy.run_config("evaluators.norm.every=0", "steps=3"), tmp_path)
    assert [x["step"] for x in lines(tmp_path) if "toy/norm" in x] == [3]
    assert summary["metrics"].keys() == {"toy/norm"}


def test_the_best_checkpoint_is_kept(tmp_path):
    # The norm grows, so that its least is the first that was measured.
    train(
        toy.run_config("checkpoint.best=toy/norm", "checkpoint.every=100", "checkpoint.keep=1"),
        tmp_path,
    )
    norms = {x["step"]: x["toy/norm"] for x in lines(tmp_path) if "toy/norm" in x}
    kept = {int(p.name) for p in (tmp_path / "checkpoints").iterdir()}
    assert kept == {12, min(norms, key=norms.get)}
    assert len(kept) == 2


def test_a_best_that_nothing_measures_is_named(tmp_path):
    """Before the training, or as soon as all has been measured once; what was learned is saved."""
    with pytest.raises(UserError, match=r"checkpoint\.best='toy/nrm': .* did you mean 'toy/norm'"):
        train(toy.run_config("checkpoint.best=toy/nrm", "steps=50"), tmp_path)
    assert lines(tmp_path)[-1]["step"] == 4
    assert train(toy.run_config("checkpoint.best=toy/norm", "steps=5"), tmp_path)["steps"] == 5
    at_the_end = toy.run_config("checkpoint.best=toy/norm", "evaluators.norm.every=0")
    with pytest.raises(UserError, match=r"checkpoint\.best='toy/norm': no evaluator gives it"):
        train(at_the_end, tmp_path / "other")
    assert lines(tmp_path / "other") == []


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(UserError, match="step 1: loss is inf; last good checkpoint: none"):
        train(toy.run_config("objective.explode_at=0.0"), tmp_path / "at_once")
    with pytest.raises(UserError) as error:
        train(
            toy.run_config(
                *("optimizer.name=sgd", "optimizer.lr=300.0", "optimizer.clip=0.0"),
                *("optimizer.schedule=constant", "checkpoint.every=2", "steps=500"),
            ),
            tmp_path / "later",
        )
    step = int(re.search(r"step (\d+): (loss|grad_norm) is (nan|inf)", str(error.value))[1])
    good = int(re.search(r"last good checkpoint: .*/checkpoints/(\d+);", str(error.value))[1])
    # Every checkpoint that the losses before it allowed was saved, and none after.
    assert good == (step - 1) // 2 * 2
    assert max(x["step"] for x in lines(tmp_path / "later")) == step - 1


def test_players_share_the_loop(tmp_path):
    train(toy.run_config("objective.rivals=True", "steps=3"), tmp_path)
    training = [x for x in lines(tmp_path) if "loss" in x]
    assert {"painter/loss", "critic/loss", "painter/grad_norm"} <= training[-1].keys()


@pytest.mark.parametrize(
    ("settings", "steps"),
    [(("steps=7",), 7), (("examples=17",), 3), (("epochs=2.5",), 20), (("epochs=0.01",), 1)],
)
def test_durations(settings, steps):
    assert total_steps(toy.run_config(*settings), examples=64) == steps


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("evaluators.norm.every=-1", "evaluators.norm.every=-1: must not be negative"),
        ("evaluators.norm={'name': 'speed', 'rounds': 0}", "norm.rounds=0: must be at least 1"),
        ("evaluators.norm={'every': 1}", "evaluators.norm: needs a 'name'"),
        ("evaluators.norm.every=x", "evaluators.norm.every='x': expected int"),
        ("evaluators.norm.colour=1", "evaluators.norm.colour: unknown key"),
        ("mesh.data=3", "mesh.data=3.* takes 3 devices"),
        ("optimizer.accumulate=3", "batch_size=8: must be a multiple of 3"),
        ("optimizer.accumulate=0", "optimizer.accumulate=0: must be at least 1"),
        ("checkpoint.every=0", "checkpoint.every=0: must be at least 1"),
    ],
)
def test_mistakes_are_one_line(tmp_path, setting, said):
    with pytest.raises(UserError, match=said) as error:
        train(toy.run_config(setting), tmp_path)
    assert "\n" not in str(error.value)


# --- the log -------------------------------------------------------------------------------------


def test_lines_beyond_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')  # the last was cut off in writing
    assert keep_lines(path, 3) == 3
    assert keep_lines(path, 1) == 1
    assert path.read_text() == '{"step": 1}\n'
    assert keep_lines(tmp_path / "none", 4) == 0


def test_figures_are_pictures_and_numbers_are_lines(tmp_path):
    with RunLog(tmp_path, 0, 10, 0, 0.0, Meter(8, 1.0, 1.0, begun=0.0)) as log:
        numbers = log.evaluation(4, {"grid": Image.new("RGB", (4, 4)), "test/f1": 0.5})
    assert numbers == {"test/f1": 0.5}
    assert lines(tmp_path) == [{"step": 4, "test/f1": 0.5}]
    assert Image.open(tmp_path / "figures" / "grid_4.png").size == (4, 4)


# --- signals -------------------------------------------------------------------------------------


def test_a_signal_breaks_off_an_evaluation():
    with Signals() as signals:
        assert signals.run(lambda x: x + 1, 1) == 2

        def evaluate():
            signal.raise_signal(signal.SIGTERM)
            time.sleep(10)
            return 1

        begun = time.perf_counter()
        assert signals.run(evaluate) is None
        assert time.perf_counter() - begun < 5
        assert signals.received == signal.SIGTERM
        assert signals.run(lambda: 1) is None  # none begins after it
    try:
        signal.raise_signal(signal.SIGTERM)  # schedulers send more than one; none kills the end
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_signals_are_given_back_where_none_came():
    with Signals():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
