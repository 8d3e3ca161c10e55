"""Runs on this machine: some at a time, each of one process or of several over loopback."""

import argparse
import fcntl
import itertools
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from launch import topology
from launch.job import AGAIN, Job
from vismem.cli import positive
from vismem.errors import UserError
from vismem.reports.sweeps import EXIT_CODE, STOPPED
from vismem.training.signals import EXIT_CODES

EARLY = 128 + signal.SIGTERM  # exit code of what was told to end before there was anything to save
LOCK = "lock"  # a file in a run's folder
GRACE = 60.0  # seconds that a run's processes have to end once one of them has failed
POLL = 0.2  # seconds between two looks at what runs
STATUS_EVERY = 10.0  # seconds
DEVICES = Path("/dev")
GPUS, TPUS = ("nvidia[0-9]*",), ("accel[0-9]*", "vfio/[0-9]*")  # how they are named there
VISIBLE = "CUDA_VISIBLE_DEVICES"
# Of a place for one of the runs at a time: what each process has in its environment.
Slot = list[dict[str, str]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=positive, default=1, help="runs at a time (1)")
    parser.add_argument("--hosts", type=positive, default=1, help="processes a run (1)")


def hardware(options: argparse.Namespace) -> tuple[int, int | None, str]:
    """Processes of a run, their devices and the kind of these; None, where there are accelerators
    to be found out when it starts."""
    given = os.environ | dict(options.env)
    if found := gpus(given):
        if (count := options.jobs * options.hosts) > len(found):
            raise UserError(
                f"--jobs {options.jobs} --hosts {options.hosts}: {count} processes for "
                f"{len(found)} GPUs; send fewer at a time, or with --env JAX_PLATFORMS=cpu"
            )
        return options.hosts, None, "gpu"
    if given.get("JAX_PLATFORMS") != "cpu" and present(TPUS):
        return options.hosts, None, "tpu"
    return options.hosts, options.hosts * topology.cpu_devices(given), "cpu"


def present(names: Sequence[str]) -> int:
    """How many devices of these names this machine has."""
    return sum(1 for name in names for _ in DEVICES.glob(name))


def gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs of a process with this environment, as CUDA names them."""
    there, named = [str(i) for i in range(present(GPUS))], environment.get(VISIBLE)
    if environment.get("JAX_PLATFORMS") == "cpu" or named == "-1":
        return []
    return [name for name in named.split(",") if name] if there and named is not None else there


def slots(options: argparse.Namespace) -> list[Slot]:
    """As many as there are runs at a time. A process that is not alone has its own share of the
    GPUs: jax takes the memory of all that it sees."""
    found = gpus(os.environ | dict(options.env))
    if (count := options.jobs * options.hosts) == 1 or not found:
        return [[{}] * options.hosts] * options.jobs
    each = len(found) // count
    shares = [{VISIBLE: ",".join(found[i * each : (i + 1) * each])} for i in range(count)]
    return [shares[i : i + options.hosts] for i in range(0, count, options.hosts)]


def going(jobs: Sequence[Job]) -> dict[str, str]:
    """Run id -> what is said of it, of the runs that a dry run leaves out."""
    return {
        job.id: "is running already"
        for job in jobs
        if is_held(job.folder / LOCK) or is_trained(job.folder)
    }


def is_trained(folder: Path) -> bool:
    """Whether somebody trains the run by hand."""
    from vismem.parallel import locks  # which imports jax

    return is_held(folder / locks.FILE)


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock."""
    if not lock.exists():
        return False
    with lock.open("rb") as file:
        return not take(file, fcntl.LOCK_SH)


def take(file: IO[bytes], how: int) -> bool:
    """Whether a file could be locked. A file system without locks lets everybody."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here
        pass
    return True


def render(jobs: Sequence[Job], options: argparse.Namespace) -> str:
    """The commands with their environment, a line a process; the GPUs of each are those that it
    gets if all runs take equally long."""
    lines = []
    for job, slot in zip(jobs, itertools.cycle(slots(options))):
        for environment in environments(job, "PORT", slot):
            prefix = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
            lines.append(" ".join([*prefix, shlex.join(job.here)]))
    return "\n".join(lines)


def environments(job: Job, port: int | str, slot: Slot) -> list[dict[str, str]]:
    """What each process of a run has in its environment, beyond what is there."""
    own = [{**job.environment, **devices} for devices in slot]
    if job.hosts == 1:
        return own
    together = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(job.hosts)}
    return [{**one, **together, "JAX_PROCESS_ID": str(i)} for i, one in enumerate(own)]


class Attempt:
    """The processes of a run that is going on."""

    def __init__(self, job: Job, lock: IO[bytes], slot: Slot):
        self.job, self.lock, self.slot = job, lock, slot
        self.broken: float | None = None  # when the first process failed
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (job.folder / "log.txt").open("ab") as log:
            self.processes = [
                subprocess.Popen(
                    job.here,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lock.fileno(),),  # held as long as any process lives
                    start_new_session=True,  # Ctrl-C reaches them once, from here
                )
                for environment in environments(job, port, slot)
            ]

    def poll(self) -> int | None:
        """The exit code once all processes have ended: 0, or of the first that failed."""
        codes = [process.poll() for process in self.processes]
        failures = [code for code in codes if code]
        if None not in codes:
            # Those killed below say less than the one that failed by itself.
            code = next((c for c in failures if c != -signal.SIGKILL), min(codes))
            return 128 - code if code < 0 else code  # a signal's number as a shell has it
        if failures:
            self.broken = self.broken or time.monotonic()
            if time.monotonic() - self.broken > GRACE:
                self.signal(signal.SIGKILL)
        return None

    def signal(self, number: int) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)


class Runner:
    """Runs jobs to their end; a run that saved and asks to go on (exit code 42) starts again.

    SIGINT and SIGTERM are passed on to what runs, and nothing new is started.

    Args:
      slots: of the runs at a time.
      status: called now and then with the folders of what is running.
    """

    def __init__(self, slots: Sequence[Slot], status: Callable[[set[Path]], None]):
        self.free, self.status = list(slots), status
        self.active: list[Attempt] = []
        self.received: list[int] = []  # signals

    def run(self, jobs: Sequence[Job]) -> int:
        """The exit code: 0, 1 if a run failed, 130 or 42 if a signal came."""
        waiting, failed, told, passed_on = list(jobs), False, 0.0, 0
        before = {s: signal.signal(s, self._receive) for s in EXIT_CODES}
        try:
            while self.active or (waiting and not self.received):
                while waiting and not self.received and self.free:
                    job = waiting.pop(0)
                    try:
                        self._start(job)
                    except OSError as error:  # of a full disk, say; what runs is still watched
                        print(f"{job.folder}: cannot be started: {error}", flush=True)
                        failed = True
                    told = 0.0
                for number in self.received[passed_on:]:
                    for attempt in self.active:
                        attempt.signal(number)
                    passed_on += 1
                for attempt in list(self.active):
                    code = attempt.poll()
                    if code is None:
                        continue
                    self._finish(attempt, code)
                    told = 0.0
                    if code in (AGAIN, EARLY) and not self.received:
                        waiting.insert(0, attempt.job)
                    failed |= code not in (0, *STOPPED)
                if time.monotonic() - told > STATUS_EVERY:
                    self.status({attempt.job.folder for attempt in self.active})
                    told = time.monotonic()
                time.sleep(POLL)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.status(set())
        return EXIT_CODES[self.received[0]] if self.received else int(failed)

    def _start(self, job: Job) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        lock = (job.folder / LOCK).open("wb")
        if not take(lock, fcntl.LOCK_EX) or is_trained(job.folder):
            lock.close()
            print(f"{job.folder}: is running already", flush=True)
            return
        (job.folder / EXIT_CODE).unlink(missing_ok=True)
        print(f"{job.folder}: started ({job.id})", flush=True)
        self.active.append(Attempt(job, lock, self.free[0]))
        del self.free[0]

    def _finish(self, attempt: Attempt, code: int) -> None:
        self.active.remove(attempt)
        self.free.append(attempt.slot)
        folder = attempt.job.folder
        partial = folder / f".{EXIT_CODE}"
        try:
            partial.write_text(f"{code}\n")
            partial.replace(folder / EXIT_CODE)
        except OSError as error:
            print(f"{folder}: {EXIT_CODE} cannot be written: {error}", flush=True)
        attempt.lock.close()
        said = {0: "done", AGAIN: "saved, to go on", **dict.fromkeys((130, EARLY), "stopped")}
        failure = f"failed (exit {code}); see {folder}/log.txt"
        print(f"{folder}: {said.get(code, failure)}", flush=True)

    def _receive(self, number: int, _: object) -> None:
        self.received.append(number)


def send(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    return Runner(slots(options), options.status).run(jobs)
