"""One resolved run, as every backend gets it."""

import hashlib
import json
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vismem import config
from vismem.reports import sweeps
from vismem.reports.sweeps import Run
from vismem.training.signals import EXIT_CODES

AGAIN = EXIT_CODES[signal.SIGTERM]  # of a run that saved and wants to go on
# Settings that change where a run computes, not what: a run sent elsewhere is the same run.
ELSEWHERE = ("mesh", "experiment")


@dataclass(frozen=True)
class Job:
    """What is sent.

    Attributes:
      id: from the resolved config: the same run has the same id wherever and whenever it is sent.
      command: starts the run, and resumes it; begins with "python".
      folder: the run's.
      environment: beyond what the host has.
      hosts: processes that run the command together.
    """

    id: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    hosts: int = 1

    @property
    def here(self) -> tuple[str, ...]:
        """The command with the Python that runs this, for hosts that share the file system."""
        return (sys.executable, *self.command[1:])


def resolve(run: Run, environment: Mapping[str, str], hosts: int) -> Job:
    return Job(run_id(run), run.command, run.folder, environment, hosts)


def run_id(run: Run) -> str:
    """At most 40 of a-z, 0-9 and "-", beginning with a letter: a name for any scheduler."""
    values = {k: v for k, v in config.plain(run.config).items() if k not in ELSEWHERE}
    text = json.dumps([str(run.folder), values], sort_keys=True)
    stem = re.sub(r"[^a-z0-9]+", "-", sweeps.name(run.file).lower()).strip("-")
    return f"v-{stem[:25]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}".replace("--", "-")
