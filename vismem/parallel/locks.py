"""A folder for one command at a time."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import jax

from vismem.errors import UserError

FILE = ".lock"


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
        file = (folder / FILE).open("wb")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}; name another") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another process is at work there; let it end, or name another folder"
            ) from None
        except OSError:  # no locks here
            pass
        yield
