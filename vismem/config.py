"""A run's config: from a file and the command line to frozen dataclasses, one a room.

A config file is Python with one function, `get_config(argument: str) -> ml_collections.ConfigDict`.
What the keys may be and which types they take is written once, in the dataclasses: `RunConfig` here
and the rooms' own; options of components chosen by name are checked by `registry.build`.
"""

import ast
import dataclasses
import importlib.util
import json
import math
import os
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from vismem.errors import UserError
from vismem.registry import check_type, nearest, parameters, resolve

if TYPE_CHECKING:  # these rooms import jax, and a mistake in a config should not wait for that
    from vismem.data import DataConfig
    from vismem.drawing.artist import DrawConfig
    from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig
    from vismem.parallel.mesh import MeshConfig
    from vismem.training.checkpoint import CheckpointConfig
    from vismem.training.optimizer import OptimizerConfig

DURATIONS = ("steps", "examples", "epochs")
FILE = "config.json"
SUMMARY = "summary.json"  # of what the config in the run's folder came to
# What a run may be resumed with otherwise: how long and where it goes on, and what is shown of it.
CHANGEABLE = (
    *(*DURATIONS, "mesh", "checkpoint", "log_every", "evaluators", "drawing", "experiment"),
    *("data.threads", "data.prefetch", "data.on_error"),
    *("data.cache", "data.cache_text", "data.cache_image"),
)


@dataclass(frozen=True)
class RunConfig:
    """Everything a run has.

    Attributes:
      batch_size: examples a step, over all devices and hosts.
      data: where examples come from, and what is done to them.
      objective: `{"name": ..., **options}`, what makes the run a flow, a GAN, ...
      painter, memory, strategy: sizes and switches of the generator.
      optimizer: how parameters move.
      drawing: how the model draws, unless a command says otherwise.
      mesh: how the devices are laid out.
      checkpoint: when to save, and what to keep.
      steps, examples, epochs: how long to train; exactly one is set.
      text, vision, fusion: encoders and what joins them, `{"name": ..., **options}`.
      seed: of parameters, data order, noise and drawings.
      start: folder of a run, with whose tokenizer (but for `data.tokenizer.length`) and learned
        parameters this one begins: those of the same name and shape; "" for none.
      ema: decay of the running average of the parameters, which is what draws and is evaluated.
      log_every: steps between two training lines of metrics.jsonl.
      evaluators: label -> `{"name": ..., "every": steps, **options}`; 0 is only at the end.
      experiment: the file and argument the config came from, "experiments/quickstart.py:argument".
    """

    batch_size: int
    data: "DataConfig"
    objective: Mapping[str, Any]
    optimizer: "OptimizerConfig"
    painter: "PainterConfig"
    memory: "MemoryConfig"
    strategy: "StrategyConfig"
    drawing: "DrawConfig"
    mesh: "MeshConfig"
    checkpoint: "CheckpointConfig"
    steps: int | None = None
    examples: int | None = None
    epochs: float | None = None
    seed: int = 0
    start: str = ""
    text: Mapping[str, Any] = field(default_factory=dict)
    vision: Mapping[str, Any] = field(default_factory=dict)
    fusion: Mapping[str, Any] = field(default_factory=dict)
    ema: float = 0.999
    log_every: int = 50
    evaluators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiment: str = ""

    def __post_init__(self):
        given = [d for d in DURATIONS if getattr(self, d) is not None]
        if len(given) != 1:
            raise UserError(
                f"{' and '.join(given) or 'duration'}: set exactly one of steps, examples, epochs"
            )
        for key in (*given, "batch_size", "log_every"):
            if not 0 < getattr(self, key) < math.inf:
                raise UserError(f"{key}={getattr(self, key)!r}: must be above 0, and finite")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed={self.seed!r}: must be from 0 to {2**32 - 1}")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema={self.ema!r}: must be at least 0 and below 1")


def load(spec: str) -> ConfigDict:
    """The config that `get_config(argument)` of a file gives.

    Args:
      spec: "path/to/file.py" or "path/to/file.py:argument"; the argument goes to the file as it is.
    """
    path, _, argument = spec.partition(":")
    file = Path(path)
    if not file.is_file():
        beside = [str(p) for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise UserError(f"{path}: no such config file; {nearest(str(file), beside)}")
    module_spec = importlib.util.spec_from_file_location(file.stem, file)
    if module_spec is None:
        raise UserError(f"{path}: a config is a Python file (.py) with a function get_config")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise UserError(f"{path}: has no function get_config(argument)")
        config = module.get_config(argument)
    except UserError:
        raise
    except Exception as error:  # whatever a file of the user's may raise
        raise UserError(
            f"{path}: get_config({argument!r}) failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config returns {type(config).__name__}, not a ConfigDict")
    with config.unlocked():
        config.experiment = spec
    return config


def override(config: ConfigDict, settings: Iterable[str]) -> ConfigDict:
    """Sets keys of `config` in place from the command line, and returns it.

    A key need not be written in the file: any that the run or the component has will do. A duration
    replaces the file's: with `--config.steps=10` neither examples nor epochs remain. Where a
    component is chosen by name, its name alone will do: `--config.text=lstm` is the LSTM as it is
    by default; `--config.text.name=lstm` lets it keep those of the file's options that it has too.

    Args:
      settings: "--config.optimizer.lr=3e-4"; values are Python literals, anything else is a string.
        In whatever order they come, a part is set before what is in it.
    """
    top = [f.name for f in dataclasses.fields(RunConfig)]
    said = []
    for setting in settings:
        key, equals, text = setting.removeprefix("--config.").partition("=")
        if not setting.startswith("--config.") or not equals:
            raise UserError(f"{setting}: unknown argument; settings read --config.some.key=value")
        if key.split(".")[0] not in top:
            raise UserError(f"{key}={text}: unknown key; {_meant(key, plain(config), top)}")
        said.append((key, text))
    before = plain(config)
    for key, text in sorted(said, key=lambda one: one[0].count(".")):
        *parents, last = key.split(".")
        with config.unlocked(), config.ignore_type():
            part = config
            for depth, name in enumerate(parents):
                if part.get(name) is None:
                    part[name] = ConfigDict()
                part = part[name]
                if not isinstance(part, ConfigDict):
                    above = ".".join(parents[: depth + 1])
                    raise UserError(f"{key}={text}: {above} is {part!r}, which has no keys")
            value = _value(text, part.get(last))
            try:
                part[last] = {"name": value} if isinstance(value, str) and _tables(key) else value
            except ValueError as error:  # ml_collections' own, of a name with a dot in it
                raise UserError(f"{key}={text}: {error}") from None
            if key in DURATIONS:
                config.update({d: None for d in DURATIONS if d != key and d in config})
    for section in {key.removesuffix(".name") for key, _ in said if key.endswith(".name")}:
        _forget(config, before, section, [key for key, _ in said])
    return config


def _tables(key: str) -> tuple[Mapping[str, str], ...]:
    """The tables of components of which `key` names one; none, if that is not what it does."""
    from vismem.data import SOURCES, TOKENIZERS
    from vismem.drawing import DIVERSITY
    from vismem.evaluation import EVALUATORS
    from vismem.models import FUSION, TEXT, TEXT_TO_TEXT, VISION, VISION_ENCODERS
    from vismem.objectives import OBJECTIVES

    section, _, label = key.partition(".")
    if section == "evaluators" and label and "." not in label:
        return (EVALUATORS,)
    return {
        "text": (TEXT, TEXT_TO_TEXT),
        "vision": (VISION, VISION_ENCODERS),
        "fusion": (FUSION,),
        "objective": (OBJECTIVES,),
        "data.source": (SOURCES,),
        "data.tokenizer": (TOKENIZERS,),
        "drawing.diversity": (DIVERSITY,),
    }.get(key, ())


def _forget(config: ConfigDict, before: Mapping[str, Any], section: str, said: list[str]) -> None:
    """Where a section names another component than `before`, removes the old one's options that the
    new one does not have, but for those that the command line `said`."""
    if any(f"{section}.".startswith(f"{key}.") for key in said):
        return  # all of it is the command line's
    part = config
    for key in section.split("."):
        part, before = part[key], before.get(key) or {}
    old, new = before.get("name"), part.name
    if old == new:
        return
    shared = {"name", "every"}  # the latter is of every evaluator
    for table in _tables(section):
        if not all(name in [*table] for name in (old, new)):
            continue
        was, has = (parameters(resolve(table, name, section)).keys() for name in (old, new))
        # Where two tables have both names, the run's is the one that takes the old options.
        if before.keys() - shared - {"variant"} <= was:
            for option in before.keys() - shared - has:
                if not any(f"{key}.".startswith(f"{section}.{option}.") for key in said):
                    with config.unlocked():
                        del part[option]
            return


def _meant(key: str, values: Mapping[str, Any], top: Iterable[str]) -> str:
    """The clause of an error line that helps with a key that is nowhere."""
    known = {*_flat(values), *top}
    inner = [f"'{k}'" for k in sorted(known) if k.endswith(f".{key}")]
    return f"did you mean {' or '.join(inner)}?" if inner else nearest(key, known)


def _value(text: str, current: Any) -> Any:
    """A setting's text as a value, in the manner of the `current` one."""
    try:
        value = {"true": True, "false": False, "none": None}[text.lower()]
    except KeyError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):  # TypeError: for what no dict or set can hold
            value = text
    if isinstance(current, str) and value is not None:
        return value if isinstance(value, str) else text
    if isinstance(current, float) and type(value) is int:
        return float(value)
    return value


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values by dotted key, as keys are written on the command line."""
    flat = {}
    for name, value in values.items():
        inner = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return flat


def plain(value: Any) -> Any:
    """Config values as dicts and tuples all the way down, references resolved."""
    if isinstance(value, ConfigDict):
        value = value.copy_and_resolve_references()
    if isinstance(value, (Mapping, ConfigDict)):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    return value


def freeze(cls: type, config: Mapping[str, Any], path: str, **types: type) -> Any:
    """A frozen dataclass from its part of a config.

    Args:
      cls: the dataclass; fields that are dataclasses are frozen likewise.
      config: field name -> value; what is left out takes the field's default.
      path: the dotted key of this part ("" for the whole config), for error lines.
      **types: classes that annotations of `cls` name without importing them.
    """
    hints = typing.get_type_hints(cls, localns=types)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values, prefix = {}, f"{path}." if path else ""
    config = plain(config)
    check_type(config, Mapping, path or "config")
    for name, value in config.items():
        if name not in fields:
            hint = nearest(prefix + name, [prefix + f for f in fields])
            raise UserError(f"{prefix}{name}={value!r}: unknown key; {hint}")
        if dataclasses.is_dataclass(hints[name]):
            value = freeze(hints[name], value, prefix + name)
        else:
            check_type(value, hints[name], prefix + name)
        values[name] = value
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UserError(f"{prefix}{name}: missing; the config must set it")
    return cls(**values)


def run_config(config: Mapping[str, Any]) -> RunConfig:
    """The whole config, every room's part validated. Imports the rooms, and jax with them."""
    from vismem.data import DataConfig
    from vismem.drawing.artist import DrawConfig
    from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig
    from vismem.parallel.mesh import MeshConfig
    from vismem.training.checkpoint import CheckpointConfig
    from vismem.training.optimizer import OptimizerConfig

    rooms = {
        "data": DataConfig,
        "painter": PainterConfig,
        "memory": MemoryConfig,
        "strategy": StrategyConfig,
        "optimizer": OptimizerConfig,
        "drawing": DrawConfig,
        "mesh": MeshConfig,
        "checkpoint": CheckpointConfig,
    }
    types = {room.__name__: room for room in rooms.values()}
    return freeze(RunConfig, {**{key: {} for key in rooms}, **plain(config)}, "", **types)


def read(folder: str | os.PathLike) -> ConfigDict:
    """The config of the run in `folder`."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise UserError(f"{folder}: not a run (it holds no {FILE}); `vismem train` makes one")
    try:
        return ConfigDict(plain(json.loads(path.read_text())))
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it or train anew") from None


def begun(folder: Path) -> bool:
    """Whether a run's folder has a checkpoint: until then nothing was learned by its config."""
    return any(path.name.isdigit() for path in (folder / "checkpoints").glob("*"))


def write(config: ConfigDict, folder: str | os.PathLike) -> None:
    """Writes `config` to the run's folder, whole or not at all. If it is another than before, what
    the run came to goes: it is not known what this one comes to.

    Raises:
      UserError: the folder holds checkpoints of a config that differs in what was learned.
    """
    folder = Path(folder)
    if (folder / FILE).exists() and begun(folder):
        changed = differences(read(folder), config)
        if changed:
            raise UserError(
                f"{folder}: holds a run begun with other settings ({', '.join(changed)}); "
                "give them as they were to resume it, or another --workdir to train anew"
            )
    try:
        text = json.dumps(plain(config), indent=2) + "\n"
    except TypeError as error:
        raise UserError(f"config: numbers, strings, lists and dicts only ({error})") from None
    partial = folder / f".{FILE}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        if (folder / FILE).exists() and (folder / FILE).read_text() != text:
            (folder / SUMMARY).unlink(missing_ok=True)
        partial.replace(folder / FILE)
    except OSError as error:
        raise UserError(f"{folder}: cannot hold a run: {error.strerror}; choose another") from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted keys in which two configs differ, but for those that a resumed run may change."""
    before, after = _flat(plain(old)), _flat(plain(new))
    changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    return sorted(k for k in changed if not any(f"{k}.".startswith(f"{c}.") for c in CHANGEABLE))
