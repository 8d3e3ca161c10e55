"""The loop: one for every objective. Read it from top to bottom."""

import collections
import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from vismem.config import RunConfig, plain
from vismem.data import pipeline, source
from vismem.errors import UserError
from vismem.evaluation.base import Evaluator, Numbers, shared
from vismem.parallel import hosts
from vismem.parallel.mesh import check_batch, make_mesh
from vismem.registry import nearest
from vismem.training import encoders, image_cache, run, text_cache
from vismem.training.checkpoint import Checkpoints
from vismem.training.flops import machine_peak, train_flops
from vismem.training.logging import RunLog, Silence
from vismem.training.meter import Meter
from vismem.training.profile import Profile
from vismem.training.signals import EXIT_CODES, Signals
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step


def train(config: RunConfig, folder: Path, profile: str = "") -> dict[str, Any]:
    """Trains a run in its folder, from its newest checkpoint if it has one.

    Every host of a run does this, each with its share of the batches; only the first writes.

    Args:
      profile: "FIRST:LAST", the steps to trace (profile.py).

    Returns:
      What summary.json holds; its `metrics` are the numbers of all evaluators after the last step.

    Raises:
      UserError: a mistake in the config, a loss that is not finite, a full disk.
      SystemExit: SIGTERM (code 42: run me again) or SIGINT (130) came to any host, and the state
        was saved.
    """
    begun = time.perf_counter()
    code = run.code()  # now: it may be changed while the run goes on
    folder.mkdir(parents=True, exist_ok=True)
    trace = Profile(folder, profile)

    # --- data and model ---------------------------------------------------------------------------

    mesh = make_mesh(config.mesh)
    check_batch(config.batch_size, mesh.shape, config.optimizer.accumulate)
    examples = source(config.data, "train")
    steps = total_steps(config, len(examples))
    tokenizer = run.make_tokenizer(config, folder, examples)
    config = encoders.resolve(config, tokenizer, folder)
    objective = run.make_objective(config, tokenizer, mesh)
    evaluators = run.make_evaluators(config, tokenizer, mesh.local_mesh, folder)
    part, parts = hosts.share(mesh)
    batches = pipeline.batches(
        config.data,
        examples,
        tokenizer,
        config.batch_size // parts,
        config.seed,
        process_index=part,
        process_count=parts,
        counts=hosts.is_first_reader(mesh),
    )
    beginning = batches.get_state()
    first = next(batches)
    shapes = hosts.global_shapes(first, config.batch_size)

    # --- state: initial, or the newest checkpoint's -----------------------------------------------

    layout = Layout(objective, config.optimizer, shapes, mesh, steps)
    checkpoints = Checkpoints(folder, config.checkpoint)
    restored = checkpoints.restore(layout.shapes)
    if restored:
        state, position, about = restored
        about = {"code": run.UNKNOWN, "inputs": {}, **about}  # which older ones do not have
    else:
        lent, inputs = run.given(config, tokenizer, layout, mesh)
        state = layout.init(config.seed, lent)
        position = beginning
        about = {"step": 0, "seconds": 0.0, "lines": 0, "measured": {}, "code": []}
        about["inputs"] = inputs
    batches.set_state(position)
    begin = about
    step = about["step"]
    measured = still_true(about, config)  # at this step: evaluator -> its numbers
    goes_on = step < steps or measured.keys() != evaluators.keys()
    codes = run.history(about["code"], code, step) if goes_on else about["code"]
    trace.among(step, steps)

    # --- update step ------------------------------------------------------------------------------

    train_step = compiled(
        make_train_step(objective, layout.optimizer, config.ema, config.optimizer.accumulate),
        layout.shardings,
        mesh,
    )
    with_text = text_cache.make(config, objective, layout.optimizer, state)
    with_images = image_cache.make(config, objective, layout.optimizer, state)
    given = hosts.global_shapes(with_images(with_text(first)), config.batch_size)
    flops = train_flops(objective, layout.optimizer, layout.shapes["params"], given)

    # --- the loop ---------------------------------------------------------------------------------

    meter = Meter(config.batch_size, flops, machine_peak(mesh), begun)
    first_host = jax.process_index() == 0
    before = about["seconds"]
    log = RunLog(folder, step, steps, about["lines"], before, meter) if first_host else Silence()
    signals = Signals()
    late = collections.deque()  # steps whose metrics are still on the device
    seen = {}  # evaluator -> the numbers that it gave last

    def settle(keep: int = 0) -> None:
        while len(late) > keep:
            done, metrics, signalled = late.popleft()
            with meter.during("device"):
                values = fetch(done, metrics, checkpoints)
            trace.after(done)
            meter.arrived(done, last=done == steps)
            log.training(done, values, every=config.log_every)
            signals.agreed |= int(signalled) > 0

    def evaluate(measure: Callable[[], Numbers | None]) -> dict[str, float] | None:
        results = signals.run(measure)
        return None if results is None else log.evaluation(step, results)

    with contextlib.closing(batches), checkpoints, log, trace, signals:
        while True:
            # Evaluated before saved, so that a checkpoint knows whether it is the best.
            for label, (every, evaluator) in evaluators.items():
                if label not in measured and (step >= steps or is_due(every, step)):
                    settle()
                    with meter.during("pause"):
                        here = {**state, "ema": hosts.local(state["ema"])}
                        found = hosts.on_first(evaluate, shared(evaluator, here, signals.run))
                    if found is None:
                        signals.agreed = True
                    else:
                        measured[label] = found
            numbers = {name: x for found in measured.values() for name, x in found.items()}
            stop = signals.agreed or step >= steps
            best = numbers.get(config.checkpoint.best)
            if step and (stop or best is not None or is_due(config.checkpoint.every, step)):
                settle()  # what is saved is known to be finite, and the log complete up to here
                done = (step, measured) != (begin["step"], begin["measured"])
                about = {
                    "step": step,
                    "steps": steps,
                    "seconds": before + (time.perf_counter() - begun if done else 0),
                    "lines": log.lines,
                    "measured": measured,
                    "code": codes,
                    "inputs": begin["inputs"],
                    "batch": run.describe(shapes),
                    "tokenizer": run.TOKENIZER,
                    "config": dataclasses.asdict(config),
                }
                with meter.during("pause"):
                    checkpoints.save(step, state, batches.get_state(), about, best)
            seen |= measured
            check_best(config.checkpoint.best, evaluators, seen)
            if stop:
                break
            with meter.during("data"):
                batch = with_images(with_text(next(batches)))
            step, measured = step + 1, {}
            trace.before(step)
            state, metrics = train_step(state, hosts.put(batch, mesh))
            if config.data.on_error == "skip":
                metrics["skipped"] = hosts.total(batches.skipped, mesh)
            late.append((step, metrics, hosts.total(signals.received is not None, mesh)))
            # Metrics are fetched a step late: the device never waits for the log.
            settle(keep=1)
        checkpoints.wait()

    if step < steps or measured.keys() != evaluators.keys():
        log.console.print(f"step {step}: saved; the same command again goes on from here")
        raise SystemExit(EXIT_CODES[signals.received or signal.SIGTERM])
    if not done and (summary := hosts.on_first(run.read_summary, folder)):
        return summary
    return hosts.on_first(
        run.write_summary,
        folder,
        {
            "seconds": about["seconds"],
            "images": step * config.batch_size,
            "steps": step,
            "parameters": layout.parameters(),
            "metrics": numbers,
            "code": codes,
            "inputs": begin["inputs"],
        },
    )


def still_true(about: Mapping[str, Any], config: RunConfig) -> dict[str, dict[str, float]]:
    """Of what a checkpoint says was measured at its step, what `config` would measure likewise."""
    if not about["measured"]:
        return {}
    then, now = plain(about["config"]), plain(dataclasses.asdict(config))
    if then["drawing"] != now["drawing"]:
        return {}

    def options(config: Mapping[str, Any], label: str) -> dict[str, Any]:
        return {**config["evaluators"].get(label, {}), "every": None}

    return {
        label: numbers
        for label, numbers in about["measured"].items()
        if label in now["evaluators"] and options(then, label) == options(now, label)
    }


def is_due(every: int, step: int) -> bool:
    """Whether what happens each `every` steps (never, if 0) happens after `step` of them."""
    return step > 0 and every > 0 and step % every == 0


def check_best(
    best: str, evaluators: Mapping[str, tuple[int, Evaluator]], seen: Mapping[str, Mapping]
) -> None:
    """One line, if no evaluator that runs again and again gives the number that `best` names."""
    repeated = {label for label, (every, _) in evaluators.items() if every}
    numbers = {name for label in repeated & seen.keys() for name in seen[label]}
    if best and best not in numbers and repeated <= seen.keys():
        raise UserError(
            f"checkpoint.best={best!r}: no evaluator gives it every few steps; "
            f"{nearest(best, numbers)}"
        )


def total_steps(config: RunConfig, examples: int) -> int:
    """The run's duration in steps, however the config gives it; `examples` are an epoch."""
    if config.steps is not None:
        return config.steps
    seen = config.examples if config.epochs is None else config.epochs * examples
    return max(1, math.ceil(seen / config.batch_size))


def fetch(step: int, metrics: dict[str, jax.Array], checkpoints: Checkpoints) -> dict[str, float]:
    """The metrics of a step as numbers; a loss or gradient that is not finite ends the run."""
    values = {name: float(x) for name, x in jax.device_get(metrics).items()}
    for name, value in values.items():
        if name.split("/")[-1] in ("loss", "grad_norm") and not math.isfinite(value):
            checkpoints.wait()
            good = checkpoints.steps()
            last = checkpoints.path(good[-1]) if good else "none, it was too early"
            raise UserError(
                f"step {step}: {name} is {value}; last good checkpoint: {last}; train anew with a "
                "lower optimizer.lr or optimizer.clip"
            )
    return values
