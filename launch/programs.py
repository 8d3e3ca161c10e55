"""Other systems' programs, which must be here to send to them."""

import subprocess
from collections.abc import Sequence

from vismem.errors import UserError


def output(command: Sequence[str], remedy: str, text: str | None = None) -> str:
    """What a command prints.

    Args:
      remedy: what to do where there is no such program.
      text: what it reads.
    """
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: not found; {remedy}") from None
    if done.returncode:
        raise UserError(f"{command[0]}: {done.stderr}")
    return done.stdout
