"""Components chosen by name: a table per room maps a name to `module:Class`, imported on first use.

Adding an encoder, objective, solver, source or evaluator is one new file and one line in a table.
"""

import dataclasses
import difflib
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from vismem.errors import UserError


def nearest(word: str, known: Iterable[str]) -> str:
    """The clause of an error line that helps with a misspelling of `word`."""
    known = sorted(set(known))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known) or 'none'}"


def resolve(table: Mapping[str, str], name: str, key: str) -> Any:
    """The class or function that `name` stands for in `table`.

    Args:
      table: name -> "module:attribute".
      name: the name to look up.
      key: where the name was written (a config key), for the error line.
    """
    if not isinstance(name, str) or name not in table:
        raise UserError(f"{key}: unknown name {name!r}; {nearest(str(name), table)}")
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def build(table: Mapping[str, str], choice: Mapping[str, Any], key: str, **given: Any) -> Any:
    """Constructs the component that `choice` names, from its options and what the caller gives.

    Args:
      table: name -> "module:attribute".
      choice: `{"name": ..., **options}`, the component's part of the config. Where the component's
        module has a function `variant`, an option of that name stands for the options that it
        gives, unless they are given too.
      key: the config key of `choice`, for error lines.
      **given: arguments the caller supplies; what the component does not declare is left out: it
        asks for what it needs by name.
    """
    options = {k: v for k, v in choice.items() if k != "name"}
    if "name" not in choice:
        raise UserError(f"{key}: needs a 'name'; known: {', '.join(sorted(table))}")
    target = resolve(table, choice["name"], f"{key}.name")
    declared = parameters(target)
    free = [p for p in declared if p not in given]
    if variant := getattr(sys.modules[target.__module__], "variant", None):
        if "variant" in options:
            try:
                options = variant(str(options.pop("variant"))) | options
            except UserError as error:
                raise UserError(f"{key}.{error}") from None
        free.append("variant")
    for option, value in options.items():
        if option not in free:
            raise UserError(f"{key}.{option}: unknown key; {nearest(option, free)}")
        check_type(value, declared[option], f"{key}.{option}")
    options |= {k: v for k, v in given.items() if k in declared}
    try:
        inspect.signature(target).bind(**options)
    except TypeError as error:  # missing a required argument: 'hidden'
        raise UserError(f"{key}: {choice['name']} is {error}") from None
    return target(**options)


def parameters(target: Any) -> dict[str, Any]:
    """Parameter name -> annotation of a class or function that is built from a config."""
    hints = typing.get_type_hints(target if inspect.isfunction(target) else target.__init__)
    if dataclasses.is_dataclass(target):
        hints = typing.get_type_hints(target)
        names = [f.name for f in dataclasses.fields(target) if f.init]
    else:
        names = [p for p in inspect.signature(target).parameters if p != "self"]
    return {n: hints.get(n, Any) for n in names if n not in ("parent", "name")}


def check_type(value: Any, annotation: Any, key: str) -> None:
    """One line naming key, value and the type expected, or the name that is meant, if `value` is
    not of `annotation`."""
    if not _fits(value, annotation):
        if typing.get_origin(annotation) is typing.Literal and isinstance(value, str):
            names = map(str, typing.get_args(annotation))
            raise UserError(f"{key}={value!r}: unknown name; {nearest(value, names)}")
        expected = getattr(annotation, "__name__", None) or str(annotation)
        if typing.get_origin(annotation) is not None:
            expected = str(annotation).replace("typing.", "")
        raise UserError(f"{key}={value!r}: expected {expected}, not {type(value).__name__}")


def _fits(value: Any, annotation: Any) -> bool:
    if annotation is Any:
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, a) for a in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple and arguments:
        if not isinstance(value, (tuple, list)):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(v, arguments[0]) for v in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    kind = origin or annotation
    if not isinstance(kind, type):
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Mapping or issubclass(kind, Mapping):
        inner = arguments[1] if arguments else Any
        return isinstance(value, Mapping) and all(_fits(v, inner) for v in value.values())
    return isinstance(value, kind)
