"""What a user can put right: one line on the command line, exit code 2."""

import errno
import sys
from collections.abc import Callable

FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, which the system says without a file's name


class UserError(Exception):
    """A mistake in a config, a file or a command. The message names the thing and the remedy."""


def reported(program: str, command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit code; a user's mistake is a line that names the program.

    Files that the system refuses, and bytes that are no text, are the user's to put right too.
    """
    try:
        return command() or 0
    except (UserError, OSError, UnicodeError) as error:
        if isinstance(error, OSError) and not (error.filename or error.errno in FULL):
            raise
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
