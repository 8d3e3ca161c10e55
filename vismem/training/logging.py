"""What a run writes down: metrics.jsonl, timings.jsonl, TensorBoard events, figures, and a progress bar."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal


class RunLog:
    """The log of a run; use as a context.

    metrics.jsonl depends on the config alone: a run that was killed and resumed writes the same lines
    as one that was not. What differs from run to run, the speed, is in timings.jsonl.

    Args:
      folder: of the run.
      step: it begins at. steps: it ends at.
      lines: of metrics.jsonl that belong to `step`; later ones, of a run that was cut off, are dropped.
      batch_size: images a step.
      peak_steps: steps a second at which matrix products alone would take all of the machine's peak.
    """

    def __init__(
        self, folder: Path, step: int, steps: int, lines: int, batch_size: int, peak_steps: float
    ):
        self.folder, self.steps = folder, steps
        self.batch_size, self.peak_steps = batch_size, peak_steps
        self.path = folder / "metrics.jsonl"
        self.lines = keep_lines(self.path, lines)
        self.seconds = 0.0  # spent in training steps since the log was opened
        self._mark = (time.perf_counter(), step)
        self._begun, self._printed = self._mark, self._mark[0]
        self._speed = ""
        self.console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
            refresh_per_second=2,  # its thread shares the processor with the training
        )
        self._task = self._progress.add_task("", total=steps, completed=step, state="compiling")
        self._metrics = self.path.open("a")
        self._timings = (folder / "timings.jsonl").open("a")
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "RunLog":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        for file in (self._metrics, self._timings, self._events):
            file.close()

    def training(self, step: int, metrics: Mapping[str, float], every: int) -> None:
        """Shows a training step, and writes down one in `every`, the first and the last."""
        now, write = time.perf_counter(), step % every == 0 or step in (1, self.steps)
        state = f"loss {metrics['loss']:.4g}"
        self._progress.update(self._task, completed=step, state=f"{state}  {self._speed}")
        if self._speed == "":  # the first step of all was mostly compilation
            self._mark, self._speed = (now, step), " "
        elif write or now - self._mark[0] > 2:
            self._measure(now, step)
        if write:
            self._write(step, metrics)
        if not self.console.is_terminal and (
            now - self._printed >= PLAIN_EVERY or step == self.steps
        ):
            self._printed = now
            self.console.print(
                f"step {step}/{self.steps}  {state}  {self._speed}{self._left(step)}"
            )

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

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count as training in images a second."""
        start = time.perf_counter()
        yield
        time_, step = self._mark
        self._mark = (time_ + time.perf_counter() - start, step)

    def _measure(self, now: float, step: int) -> None:
        elapsed, done = now - self._mark[0], step - self._mark[1]
        if done <= 0 or elapsed <= 0:
            return
        rate = done / elapsed
        values = {"images_per_second": rate * self.batch_size, "peak_share": rate / self.peak_steps}
        self._speed = (
            f"{values['images_per_second']:,.0f} images/s  "
            f"{values['peak_share']:.0%} of matmul peak"
        )
        self._mark = (now, step)
        line = {"step": step, "seconds": now - self._begun[0], **values}
        self._timings.write(json.dumps(line) + "\n")
        self._timings.flush()
        for name, value in values.items():
            self._events.add_scalar(f"speed/{name}", value, step)

    def _left(self, step: int) -> str:
        done = step - self._begun[1]
        seconds = (time.perf_counter() - self._begun[0]) / max(done, 1) * (self.steps - step)
        return f"  {seconds // 60:.0f}:{seconds % 60:02.0f} left"

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        self._metrics.write(json.dumps({"step": step, **values}) + "\n")
        self._metrics.flush()
        self.lines += 1
        for name, value in values.items():
            self._events.add_scalar(name, value, step)


def keep_lines(path: Path, count: int) -> int:
    """Cuts a file down to its first `count` lines, whole or not at all; returns how many it has."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    if len(lines) > count:
        write_whole(path, "".join(lines[:count]))
    return min(len(lines), count)


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that it is never seen half written."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)
