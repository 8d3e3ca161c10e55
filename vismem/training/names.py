"""Parameters by name, and rules over names: ordered pairs (regex, value), the first match decides.

A name is "player/module/.../kernel"; a rule's regex is searched for in it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from flax.traverse_util import flatten_dict

from vismem.errors import UserError

Flat = dict[str, Any]  # parameter name -> array


def names(params: Mapping[str, Any]) -> Flat:
    """{player: tree} -> {"player/.../kernel": array}."""
    return flatten_dict(params, sep="/")


def match(
    rules: tuple[tuple[str, Any], ...],
    names: Mapping[str, Any],
    key: str,
    default: Callable[[str], Any],
) -> dict[str, Any]:
    """name -> the value of the first rule whose regex is found in it, or `default(name)`."""
    try:
        compiled = [(re.compile(regex), value) for regex, value in rules]
    except re.error as error:
        raise UserError(f"{key}: {error.pattern!r} is not a regular expression ({error})") from None
    for regex, _ in compiled:
        if not any(map(regex.search, names)):
            some = next(iter(names))
            raise UserError(f"{key}: {regex.pattern!r} matches no parameter; one is {some!r}")
    return {
        name: next((value for regex, value in compiled if regex.search(name)), default(name))
        for name in names
    }
