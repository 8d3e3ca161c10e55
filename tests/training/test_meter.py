import json

import pytest
import toy

from vismem.errors import UserError
from vismem.training.loop import train
from vismem.training.meter import Meter
from vismem.training.profile import Profile


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("vismem.training.meter.time.perf_counter", lambda: now[0])
    return now


def test_the_time_of_a_step_is_split(clock):
    meter = Meter(batch_size=8, flops=30.0, peak=60.0, begun=0.0)
    clock[0] += 50  # compiles
    meter.arrived(1, last=False)
    assert meter.speed == {}
    for step in (2, 3):
        for what, seconds in (("data", 1.0), ("pause", 40.0), ("device", 2.5)):
            with meter.during(what):
                clock[0] += seconds
        clock[0] += 0.5
        meter.arrived(step, last=step == 3)
        assert meter.speed["images_per_second"] == pytest.approx(2.0)
        assert meter.speed["mfu"] == pytest.approx(30 / 4 / 60)
        assert meter.speed["data_seconds"] == pytest.approx(1.0)
        assert meter.speed["device_seconds"] == pytest.approx(2.5)
        assert meter.speed["host_seconds"] == pytest.approx(0.5)
    assert meter.speed["goodput"] == pytest.approx(8 / (100 + 50 + 2 * 44))


def test_speed_is_that_of_the_last_seconds(clock):
    meter = Meter(1, 1.0, 1.0, begun=0.0)
    for step in range(1, 11):
        clock[0] += 0.5 if step < 6 else 1.0
        meter.arrived(step, last=False)
    assert meter.speed["images_per_second"] == pytest.approx(1.0)


def test_a_profile_of_some_steps(tmp_path):
    settings = ("steps=4", "evaluators.norm.every=0")
    train(toy.run_config(*settings), tmp_path, profile="2:3")
    [trace] = tmp_path.glob("profile/**/*.xplane.pb")
    content = trace.read_bytes()
    assert content.count(b"train_step") > 0
    lines = map(json.loads, (tmp_path / "timings.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.parametrize(("steps", "traces"), [("10:15", False), ("15:25", True), ("90:95", False)])
def test_steps_that_a_run_does_not_go_through_are_told(tmp_path, caplog, steps, traces):
    Profile(tmp_path, steps).among(done=20, steps=50)
    assert caplog.text.endswith(
        ""
        if traces
        else f"--profile {steps}: traces nothing, as the run goes on from step 20 to 50\n"
    )
    assert bool(caplog.text) != traces


@pytest.mark.parametrize("steps", ["3", "5:4", "a:b", ":", "0:5"])
def test_which_steps_is_said_well(tmp_path, steps):
    with pytest.raises(UserError, match=f"--profile {steps}: reads FIRST:LAST"):
        train(toy.run_config(), tmp_path, profile=steps)
