"""What a user can put right: one exception, one line on the command line, exit code 2."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable

FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, which the system says without a file's name


class UserError(Exception):
    """A mistake in a config, a file or a command. The message names the thing and the remedy."""


def exit_code(program: str, work: Callable[[], int | None]) -> int:
    """Does the work of a command line, and returns the exit code that it ends with.

    Args:
      program: whose name a line about a mistake begins with.
      work: returns the exit code, None for 0.
    """
    try:
        code = work() or 0
        print(end="", flush=True)  # here, where it can still be seen that nobody reads
        return code
    except BrokenPipeError:
        try:
            print(flush=True)
        except BrokenPipeError:  # it is the output's, whose reader has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again
            return 128 + signal.SIGPIPE
        raise
    # Files that the system refuses, and bytes that are no text, are the user's to put right too.
    except (UserError, OSError, UnicodeError) as error:
        if isinstance(error, OSError) and not (error.filename or error.errno in FULL):
            raise
        return refuse(program, str(error))
    except (RuntimeError, AssertionError) as error:
        if not (told := of_devices(error)):
            raise
        return refuse(program, told)
    except KeyboardInterrupt:
        return 130


def refuse(program: str, message: str) -> int:
    """Says in one line what is wrong, and returns the exit code for it."""
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def of_devices(error: Exception) -> str:
    """What is to be said of an error of jax: it has no such devices, or their memory is full."""
    if str(error).startswith("RESOURCE_EXHAUSTED"):
        first, *_ = str(error).splitlines()
        return f"{first}; lower batch_size or give it less at once; `vismem plan` says what fits"
    if traceback.extract_tb(error.__traceback__)[-1].filename.endswith("xla_bridge.py"):
        asked = os.environ.get("JAX_PLATFORMS", "")
        said = str(error) or "jax finds no such devices"
        return f"JAX_PLATFORMS={asked}: {said}; unset it, or install jax's plugin for them"
    return ""
