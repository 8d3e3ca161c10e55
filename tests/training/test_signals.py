"""Signals while something runs that may be broken off."""

import signal
import time

import pytest

from vismem.training.signals import EXIT_CODES, Signals


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (*EXIT_CODES, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raised_in(file):
    """Code as if of that file, which gets a SIGTERM and goes on for a while."""
    return compile("raise_signal(SIGTERM); sleep(0.3); after.append('went on')", file, "exec")


def evaluate(code, after):
    exec(code, {"sleep": time.sleep, "after": after, **vars(signal)})
    time.sleep(10)
    after.append("ended")


def test_what_runs_is_broken_off():
    after = []
    with Signals() as signals:
        assert signals.run(evaluate, raised_in("evaluator.py"), after) is None
    assert signals.received == signal.SIGTERM
    assert after == []


def test_what_runs_is_broken_off_though_it_catches_exceptions():
    def stubborn():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception:
            return "went on"

    with Signals() as signals:
        assert signals.run(stubborn) is None


def test_a_compilation_is_not():
    after, begun = [], time.monotonic()
    with Signals() as signals:
        assert signals.run(evaluate, raised_in("/site/jax/_src/compiler.py"), after) is None
        assert signals.run(evaluate, None, after) is None
    assert after == ["went on"]
    assert time.monotonic() - begun < 5


def test_no_alarm_is_left_to_a_process_that_ends_at_once():
    compiles = compile("raise_signal(SIGTERM)", "/site/jax/_src/compiler.py", "exec")
    with Signals() as signals:
        signals.run(exec, compiles, {**vars(signal)})
    assert signals.received == signal.SIGTERM
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
