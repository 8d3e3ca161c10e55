"""A folder for one command at a time."""

import contextlib
import fcntl
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import jax

from vismem.errors import UserError

FILE = ".lock"
# Of a machine that is gone a network's file system keeps locks until its lease ends, 90 s on NFS.
PATIENCE = 120
log = logging.getLogger(__name__)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other commands that write to a folder out of it, on the first host; the system lets go
    of it when the process ends, however it ends. A file system without locks has none.

    Raises:
      UserError: another process is at work in the folder, or the folder cannot be made.
    """
    if jax.process_index():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / FILE).open("a+")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}; name another") from None
    with file:
        with contextlib.suppress(OSError):  # no locks here
            _take(file, folder)
        yield


def _take(file: IO[str], folder: Path) -> None:
    """Locks a file, which then says by which host."""
    here, until = socket.gethostname(), time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            if holder in (here, "") or time.monotonic() > until:
                raise UserError(
                    f"{folder}: another process is at work there; let it end, or name another "
                    "folder"
                ) from None
            log.warning("%s: waits for a process on %s to let go of it", folder, holder)
            time.sleep(10)
    file.truncate(0)
    file.write(here)
    file.flush()
