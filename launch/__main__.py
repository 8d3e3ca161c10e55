"""python -m launch BACKEND FILE[:ARGUMENT] [--sweep [KEY=VALUES ...]] [--dry-run]"""

import argparse
import functools
import importlib
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType

from launch import grid, topology, xla_flags
from launch.job import resolve
from vismem import config
from vismem.cli import Parser
from vismem.errors import exit_code
from vismem.reports import status, sweeps
from vismem.reports.sweeps import Run

BACKENDS = ("local", "slurm", "gke", "tpu")
# States of runs that are not sent. Whose folder it is, without its config nobody knows.
SETTLED = ("done", "other config", f"unreadable ({config.FILE})")


def main(argv: Sequence[str] | None = None) -> int:
    """Sends the runs of a command line (the process's own by default); returns the exit code."""
    options = arguments().parse_args(argv)
    # Ctrl-C ends what only watches; the runs go on where they are.
    return exit_code("launch", lambda: launch(options))


def arguments() -> argparse.ArgumentParser:
    parser = Parser(prog="launch", description="Sends runs to where they are computed.")
    backends = parser.add_subparsers(dest="backend", required=True, metavar="BACKEND")
    for name in BACKENDS:
        module = importlib.import_module(f"launch.{name}")
        sub = backends.add_parser(name, help=module.__doc__.partition("\n")[0], allow_abbrev=False)
        sub.set_defaults(module=module)
        sub.add_argument("file", metavar="FILE[:ARGUMENT]", help="e.g. experiments/quickstart.py")
        sub.add_argument(
            "--sweep",
            nargs="*",
            metavar="KEY=VALUES",
            help="all combinations of lr=1e-4,3e-4 seed=0:3; without any: the file's own sweep()",
        )
        sub.add_argument(
            "--env",
            nargs="*",
            type=variable,
            default=(),
            metavar="NAME=VALUE",
            help="environment of the runs",
        )
        sub.add_argument("--dry-run", action="store_true", help=dry_run(module))
        module.arguments(sub)
    return parser


def variable(text: str) -> tuple[str, str]:
    """Name and value of "NAME=VALUE"."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: reads NAME=VALUE")
    return name, value


def dry_run(module: ModuleType) -> str:
    said = "print what would be sent, only"
    if hasattr(module, "going"):
        return said
    return f"{said}; the cloud is not asked which of it is there already"


def launch(options: argparse.Namespace) -> int:
    """Resolves the runs, leaves out those that are settled, and sends the others."""
    runs = grid.runs(options.file, options.sweep)
    hosts, devices, kind = options.module.hardware(options)
    environment = xla_flags.environment(kind) | dict(options.env)
    for run in runs:
        settings = config.run_config(run.config)  # a mistake in one is said before any is sent
        if devices:
            topology.check(settings, hosts, devices, kind)
    # Every row's first seed before any row's second: a table has all its rows early.
    runs.sort(key=lambda run: run.seed)
    jobs, done = [], []
    for run in runs:
        job = resolve(run, environment, hosts)
        state = sweeps.state(run)
        if state == "done" and (other := sweeps.other(sweeps.summary(run))):
            state = f"done, by {other}"
        if state.startswith(SETTLED):
            print(f"{run.folder}: {state}; left as it is", file=sys.stderr)
        else:
            jobs.append(job)
        if state.startswith("done"):
            done.append(job)
    if options.dry_run:
        going = options.module.going(jobs) if hasattr(options.module, "going") else {}
        for job in jobs:
            if job.id in going:
                print(f"{job.folder}: {going[job.id]}; left as it is", file=sys.stderr)
        jobs = [job for job in jobs if job.id not in going]
        print(options.module.render(jobs, options) if jobs else "nothing to send")
        return 0
    page = sweeps.RUNS / sweeps.name(options.file) / "status.html"
    status.write(page, runs)
    print(f"status: {page}", file=sys.stderr)
    options.status = functools.partial(keep, page, runs)
    if hasattr(options.module, "clear"):
        options.module.clear([*done, *jobs], options)
    return options.module.send(jobs, options) if jobs else 0


def keep(page: Path, runs: Sequence[Run], running: Collection[Path]) -> None:
    """Writes the status page anew. That a disk is full ends nobody's watching."""
    try:
        status.write(page, runs, running)
    except OSError as error:
        print(f"{page}: cannot be written: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
