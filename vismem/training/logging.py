"""What a run writes down and shows: metrics, timings, TensorBoard events, figures, progress."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from vismem.errors import UserError
from vismem.training.meter import Meter

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal


class RunLog:
    """The log of a run; use as a context.

    metrics.jsonl depends on the config alone: a run that was killed and resumed writes the same
    lines as one that was not. What differs from run to run, the speed, is in timings.jsonl.

    Args:
      folder: of the run.
      step: it begins at. steps: it ends at.
      lines: of metrics.jsonl to keep; those after them, of a run that was cut off, are dropped.
      before: seconds that the run took up to `step`, in other processes.
      meter: measures the speed.
    """

    def __init__(
        self, folder: Path, step: int, steps: int, lines: int, before: float, meter: Meter
    ):
        self.folder, self.steps, self.meter = folder, steps, meter
        self.path = folder / "metrics.jsonl"
        self.lines = keep_lines(self.path, lines)
        self._begun, self._printed = meter.begun - before, time.perf_counter()
        self.console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
            refresh_per_second=2,  # its thread shares the processor with the training
        )
        self._task = self._progress.add_task("", total=steps, completed=step, state="compiling")
        self._metrics = self.path.open("a")
        self._timings = keep_steps(folder / "timings.jsonl", step).open("a")
        self._events = Events(folder / "tensorboard", step)

    def __enter__(self) -> "RunLog":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        for file in (self._metrics, self._timings, self._events):
            with contextlib.suppress(OSError):  # what could not be written was said already
                file.close()

    def training(self, step: int, metrics: Mapping[str, float], every: int) -> None:
        """Shows a training step, and writes down one in `every`, the first and the last."""
        now, speed = time.perf_counter(), self.meter.speed
        shown = f"loss {metrics['loss']:.4g}"
        if speed:
            shown += f"  {speed['images_per_second']:,.0f} images/s"
            shown += f"  {speed['mfu']:.0%} of matmul peak"
        self._progress.update(self._task, completed=step, state=shown)
        if step % every == 0 or step in (1, self.steps):
            self._write(step, metrics)
            append(self._timings, {"step": step, "seconds": now - self._begun, **speed})
            self._events.add(step, {f"speed/{name}": x for name, x in speed.items()})
        if not self.console.is_terminal and (
            now - self._printed > PLAIN_EVERY or step == self.steps
        ):
            self._printed = now
            if speed:
                left = (self.steps - step) * self.meter.batch_size / speed["images_per_second"]
                shown += f"  {left // 60:.0f}:{left % 60:02.0f} left"
            self.console.print(f"step {step}/{self.steps}  {shown}")

    def evaluation(self, step: int, results: Mapping[str, float | Image.Image]) -> dict[str, float]:
        """Writes down what an evaluator found, figures as pictures; returns the numbers."""
        numbers = {n: float(v) for n, v in results.items() if not isinstance(v, Image.Image)}
        for name in results.keys() - numbers.keys():
            path = self.folder / "figures" / f"{name}_{step}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            results[name].save(path)
        if numbers:
            self._write(step, numbers)
            found = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
            self.console.print(f"step {step}/{self.steps}  {found}")
        return numbers

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        append(self._metrics, {"step": step, **values})
        self.lines += 1
        self._events.add(step, values)


class Silence:
    """The log of all hosts but the first, which writes and shows for all."""

    lines, console = 0, Console(quiet=True)

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def training(self, step: int, metrics: Mapping[str, float], every: int) -> None:
        pass


class Events:
    """Scalars for TensorBoard; events after `step` of a run that was cut off are void.

    Not tensorboardX's SummaryWriter: its thread dies on a full disk, and who feeds it waits.
    """

    def __init__(self, folder: Path, step: int):
        folder.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=f".{step}")
        self._write(Event(session_log=SessionLog(status=SessionLog.START), step=step + 1))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._write(Event(summary=scalar(name, value), step=step))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with on_full_disk():
            self._writer.write_event(event)
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def append(file: TextIO, values: Mapping[str, float]) -> None:
    """Adds a line of JSON, at once."""
    with on_full_disk():
        file.write(json.dumps(values) + "\n")
        file.flush()


@contextlib.contextmanager
def on_full_disk() -> Iterator[None]:
    """One line, if what is written inside cannot be."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"log not written ({error.strerror}); make room and run the same command again"
        ) from error


def keep_lines(path: Path, count: int) -> int:
    """Cuts a file down to its first `count` lines, whole or not at all; returns how many it has."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    if len(lines) > count:
        write_whole(path, "".join(lines[:count]))
    return min(len(lines), count)


def keep_steps(path: Path, step: int) -> Path:
    """Cuts a file of lines that each have a `step` down to those up to `step`, without what a full
    disk left half written."""

    def counts(line: str) -> bool:
        try:
            return json.loads(line)["step"] <= step
        except (ValueError, LookupError, TypeError):
            return False

    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if counts(line)]
    if len(kept) < len(lines):
        write_whole(path, "".join(kept))
    return path


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that it is never seen half written."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
