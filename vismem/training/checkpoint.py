"""Checkpoints of a run: state, place in the data, about the run. Only this module knows orbax."""

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from vismem.errors import UserError
from vismem.parallel import hosts
from vismem.training.logging import write_whole
from vismem.training.state import State

FOLDER = "checkpoints"
FULL = re.compile("No space left|Disk quota|File too large")  # as the system words it

log = logging.getLogger(__name__)
# Orbax logs what it also raises, with the traceback, and warns of what is meant to be.
logging.getLogger("absl").addFilter(lambda record: "/orbax/" not in record.pathname)


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save, and what to keep.

    Attributes:
      every: steps between saves; the last step is always saved.
      keep: how many of the latest to keep.
      best: a number that an evaluator gives every few steps, e.g. "val/loss". A checkpoint is also
        saved whenever it is measured, and the one where it was best is kept beside the latest. ""
        for none.
      best_mode: whether the least or the greatest of it is best.
    """

    every: int = 500
    keep: int = 2
    best: str = ""
    best_mode: Literal["min", "max"] = "min"

    def __post_init__(self):
        for key in ("every", "keep"):
            if getattr(self, key) < 1:
                raise UserError(f"checkpoint.{key}={getattr(self, key)!r}: must be at least 1")


class Checkpoints:
    """The checkpoints in a run's folder. Saving goes on behind the training; use as a context.

    Args:
      folder: of the run.
      read_only: leaves everything as it is; the run may be training meanwhile.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, read_only: bool = False):
        self.folder, self.read_only = Path(folder).resolve() / FOLDER, read_only
        if read_only:
            # Lightweight: it does not read metrics, which may be damaged too.
            self._options = ocp.CheckpointManagerOptions(
                read_only=True, lightweight_initialize=True
            )
        else:
            best = policies.BestN(
                get_metric_fn=best_of,
                reverse=config.best_mode == "min",  # the last of the order is kept
                n=1,
                keep_checkpoints_without_metrics=False,
            )
            latest = policies.LatestN(config.keep)
            self._options = ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy([latest, best]),
                best_fn=best_of,  # without it the metrics are not written
                cleanup_tmp_directories=True,
                create=True,
            )
            hosts.on_first(self._clear)
        self._manager = self._open()

    def _clear(self) -> None:
        """Says what orbax will remove as it opens the folder, and sets aside what it would break
        off at: it reads the metrics of every checkpoint then."""
        for path in self.folder.glob("*.orbax-checkpoint-tmp*"):
            log.warning("%s: left by a save that was cut off, removed", path)
        bad, count = [], 0
        for path in self.folder.glob("[0-9]*"):
            if not path.name.isdigit():
                continue
            count += 1
            try:
                float(best_of(json.loads((path / "metrics" / "metrics").read_bytes())))
            except FileNotFoundError:
                pass  # nothing was measured at this step
            except (OSError, ValueError, TypeError, KeyError) as error:
                bad.append((path, error))
        if bad and len(bad) == count:
            raise self._unreadable(*bad[0])
        for path, error in bad:
            log.warning("%s", damaged(path, error))
        set_aside(path for path, _ in bad)

    def _open(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self.folder, options=self._options, item_names=("state", "data", "about")
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._manager.close()
        except Exception as failure:  # of the last save; what broke off the run comes first
            if error is None:
                raise self._failure(failure) from failure

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, oldest first."""
        return sorted(self._manager.all_steps())

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / str(step)

    def save(
        self,
        step: int,
        state: State,
        data: Mapping[str, Any],
        about: Mapping[str, Any],
        best: float | None = None,
    ) -> None:
        """Begins to save; it is done when the next save begins, or after `wait`.

        Of a step that is saved already, what was `measured` since is added: a signal may have come
        before that, or evaluators are others now.

        Args:
          data: state of the data iterator.
          about: anything else that JSON can hold; what was `measured` at this step.
          best: the value of `config.best` at this step, if it was measured.
        """
        if step in self._manager.all_steps():
            hosts.on_first(amend, self.path(step), about, best)
            self._manager.reload()  # which is the best may have changed
            return
        free = hosts.on_first(lambda: shutil.disk_usage(self.folder).free)
        if free < sum(x.nbytes for x in jax.tree.leaves(state)):
            raise self._full()  # before orbax's threads find out, each with a traceback
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=ocp.args.JsonSave(dict(data)),
                    about=ocp.args.JsonSave(dict(about)),
                ),
                metrics=None if best is None else {"best": best},
                force=True,
            )
        except Exception as error:  # also of the save before, which went on behind
            raise self._failure(error) from error

    def wait(self) -> None:
        """Returns when what was saved is on disk."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Exception:
        return self._full() if FULL.search(str(error)) else error

    def _full(self) -> UserError:
        done = sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdigit())
        kept = f"the newest that is whole is {self.path(done[-1])}" if done else "there is none yet"
        return UserError(
            f"{self.folder}: the disk is full, so a checkpoint was not saved ({kept}); make room "
            "and run the same command again"
        )

    def about(self) -> dict[str, Any]:
        """`about` of the newest checkpoint in which it can be read."""
        for step in reversed(self.steps()):
            try:
                return self._manager.restore(
                    step, args=ocp.args.Composite(about=ocp.args.JsonRestore())
                )["about"]
            except Exception as error:
                log.warning("%s", damaged(self.path(step), error))
        raise UserError(f"{self.folder}: holds no checkpoint that can be read; train the run first")

    def restore(
        self, shapes: State, step: int | None = None
    ) -> tuple[State, dict[str, Any], dict[str, Any]] | None:
        """The newest checkpoint that is whole, or None if none was ever saved.

        One that cannot be read is passed over with a warning and set aside, so that its step can be
        saved again.

        Args:
          shapes: the state's arrays with the shardings they shall have, of any mesh.
          step: of the checkpoint to read instead of the newest.

        Returns:
          state, data, about as they were saved.
        """
        bad, steps = [], self.steps()
        if step is not None:
            if step not in steps:
                kept = ", ".join(map(str, steps)) or "none"
                raise UserError(f"{self.folder}: no checkpoint of step {step}; it holds {kept}")
            steps = [step]
        for step in reversed(steps):
            try:
                found = self._manager.restore(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardRestore(shapes),
                        data=ocp.args.JsonRestore(),
                        about=ocp.args.JsonRestore(),
                    ),
                )
            except Exception as error:  # tensorstore's and orbax's own, of many kinds
                bad.append((self.path(step), error))
                log.warning("%s", damaged(self.path(step), error))
                if jax.process_count() > 1:
                    raise self._alone(*bad[0]) from error
                continue
            if bad and not self.read_only:
                self._manager.close()
                hosts.on_first(set_aside, [path for path, _ in bad])
                self._manager = self._open()
            return found["state"], found["data"], found["about"]
        if bad:
            raise self._unreadable(*bad[0])
        return None

    def _alone(self, path: Path, error: Exception) -> UserError:
        """Of several hosts the others may have read the checkpoint, and wait for this one now: they
        end when it does, and begin again with a checkpoint that none of them sets aside."""
        if not self.read_only:
            with contextlib.suppress(OSError):  # another host has done it
                set_aside([path])
        return UserError(f"{damaged(path, error)}; run the same command again")

    def _unreadable(self, path: Path, error: Exception) -> UserError:
        return UserError(
            f"{self.folder}: none of its checkpoints can be read ({damaged(path, error)}); "
            "restore them, or train anew in another --workdir"
        )


def amend(path: Path, about: Mapping[str, Any], best: float | None) -> None:
    """Writes what is known of a saved step into its checkpoint, if something else was measured
    there or it is ranked only now."""
    file, metrics = path / "about" / "metadata", path / "metrics" / "metrics"
    known = json.loads(file.read_text())["measured"] == about["measured"]
    if known and (best is None or metrics.exists()):
        return
    if best is not None:
        metrics.parent.mkdir(exist_ok=True)
        write_whole(metrics, json.dumps({"best": best}))
    write_whole(file, json.dumps(about))


def best_of(metrics: Mapping[str, float]) -> float:
    """What checkpoints are ranked by."""
    return metrics["best"]


def set_aside(paths: Iterable[Path]) -> None:
    """Renames checkpoints that cannot be read."""
    for path in paths:
        free, number = path.with_name(f"damaged-{path.name}"), 1
        while free.exists():  # this step was damaged before
            number += 1
            free = path.with_name(f"damaged-{path.name}-{number}")
        path.rename(free)


def damaged(path: Path, error: Exception) -> str:
    """One line on a checkpoint that cannot be read."""
    reason = " ".join(str(error).split())[:200]
    return f"{path}: damaged or half-written, passed over ({type(error).__name__}: {reason})"
