from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from vismem import config
from vismem.errors import UserError

EXPERIMENT = """
from ml_collections import ConfigDict

def get_config(argument):
    c = ConfigDict()
    c.batch_size = 8
    c.epochs = 2
    c.note = argument
    return c
"""


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def settings():
    return ConfigDict(
        {
            "batch_size": 8,
            "epochs": 2,
            "optimizer": {"name": "adamw", "lr": 1e-3, "decay": (("bias", 0.0),)},
            "memory": {"enabled": True},
            "data": {"source": {"name": "folder", "root": "here"}},
        }
    )


@dataclass(frozen=True)
class Inner:
    lr: float
    rules: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner
    options: dict = field(default_factory=dict)
    size: int = 1


# --- load ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["", "res=64,fast", "a:b"])
def test_load_passes_the_argument_as_it_is(experiment, argument):
    spec = f"{experiment}:{argument}" if argument else str(experiment)
    loaded = config.load(spec)
    assert loaded.note == argument
    assert loaded.experiment == spec


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def get_config(:", "SyntaxError"),
        ("x = 1", "has no function get_config"),
        ("def get_config(argument): return {}", "returns dict, not a ConfigDict"),
        ("def get_config(argument): return int(argument)", r"get_config\(''\) failed: ValueError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, text, line):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(UserError, match=line) as error:
        config.load(str(path))
    assert str(path) in str(error.value)


def test_a_missing_file_names_the_nearest(experiment):
    with pytest.raises(UserError, match=r"tinny.py: no such config file; did you mean '.*tiny.py'"):
        config.load(str(experiment.with_name("tinny.py")))


# --- override ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("optimizer.lr=3e-4", "optimizer.lr", 3e-4),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("optimizer.name=None", "optimizer.name", None),
        ("optimizer.decay=(('norm', 0.),)", "optimizer.decay", (("norm", 0.0),)),
        ("memory.enabled=false", "memory.enabled", False),
        ("data.source.root=2024", "data.source.root", "2024"),  # stays text where text is
        ("memory.update=gru", "memory.update", "gru"),  # not in the file
        ("mesh.fsdp=2", "mesh.fsdp", 2),  # nor is any of this part
        ("data.source.root=a=b", "data.source.root", "a=b"),
        ("data.source={'name': 'world'}", "data.source", ConfigDict({"name": "world"})),  # whole
        ("data.source=world", "data.source", ConfigDict({"name": "world"})),
        ("evaluators.loss=loss", "evaluators.loss", ConfigDict({"name": "loss"})),
        ("objective.autoencoder=runs/a", "objective.autoencoder", "runs/a"),  # a folder, no name
        ("text={{}}", "text", ConfigDict({"name": "{{}}"})),  # what no set can hold is a text
    ],
)
def test_override(settings, setting, key, value):
    config.override(settings, [f"--config.{setting}"])
    found = settings
    for name in key.split("."):
        found = found[name]
    assert config.plain(found) == config.plain(value)
    assert type(found) is type(value)


def test_a_duration_replaces_the_file_s(settings):
    config.override(settings, ["--config.steps=5"])
    assert (settings.steps, settings.epochs) == (5, None)


QUICKSTART = str(Path(__file__).parents[1] / "experiments" / "quickstart.py")
TOWERS = str(Path(__file__).parents[1] / "experiments" / "towers.py")


@pytest.mark.parametrize(
    ("file", "arguments", "section", "value"),
    [
        (QUICKSTART, ["text=lstm"], "text", {"name": "lstm"}),
        (QUICKSTART, ["text.width=64", "text=lstm"], "text", {"name": "lstm", "width": 64}),
        (QUICKSTART, ["text.name=lstm"], "text", {"name": "lstm", "width": 128, "layers": 2}),
        (QUICKSTART, ["text.name=ngrams"], "text", {"name": "ngrams", "width": 128}),
        # What the command line says stays, to be an error where it makes no sense.
        (
            *(QUICKSTART, ["text.heads=2", "text.name=ngrams"], "text"),
            {"name": "ngrams", "width": 128, "heads": 2},
        ),
        (
            *(QUICKSTART, ["text={'name': 'rnn', 'layers': 2}", "text.name=ngrams"], "text"),
            {"name": "ngrams", "layers": 2},
        ),
        (QUICKSTART, ["data.source.name=folder"], "data.source", {"name": "folder"}),
        (
            *(QUICKSTART, ["evaluators.progress.name=loss"], "evaluators.progress"),
            {"name": "loss", "every": 780, "count": 128},
        ),
        # Its `width` is no option of a tower's; of a canvas's encoder of that name it is.
        (TOWERS, ["vision.name=cnn"], "vision", {"name": "cnn"}),
        (TOWERS, ["vision.name=nothing"], "vision.name", "nothing"),
        (QUICKSTART, ["text.name=transformer"], "text.heads", 4),
    ],
)
def test_another_component_by_its_name(file, arguments, section, value):
    found = config.override(config.load(file), [f"--config.{a}" for a in arguments])
    for key in section.split("."):
        found = found[key]
    assert config.plain(found) == value


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--config.lr=3", "^lr=3: unknown key; did you mean 'optimizer.lr'[?]$"),
        ("--config.enabled=1", "did you mean 'memory.enabled'[?]$"),
        ("--config.name=x", "did you mean 'data.source.name' or 'optimizer.name'[?]$"),
        ("--config.bach_size=4", "^bach_size=4: unknown key; did you mean 'batch_size'"),
        ("--config.optimiser.lr=1", "^optimiser.lr=1: unknown key; did you mean 'optimizer.lr'"),
        ("--config.memory.enabled.x=1", "memory.enabled is True, which has no keys"),
        ("--config.evaluators={'val.loss': {'name': 'loss'}}", "evaluators=.* dot"),
        ("--config.steps", "settings read --config.some.key=value"),
        ("--steps=3", "settings read --config.some.key=value"),
    ],
)
def test_a_bad_setting_is_one_line(settings, argument, line):
    with pytest.raises(UserError, match=line):
        config.override(settings, [argument])


# --- freeze --------------------------------------------------------------------------------------


def test_freeze_nests_and_keeps_defaults():
    part = ConfigDict({"inner": {"lr": 1, "rules": [["a", 2.0]]}, "options": {"x": {"y": [1]}}})
    frozen = config.freeze(Outer, part, "")
    assert frozen == Outer(Inner(1, (("a", 2.0),)), {"x": {"y": (1,)}})
    assert type(frozen.options) is dict


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ({"inner": {"lrr": 1}}, "^room.inner.lrr=1: unknown key; did you mean 'room.inner.lr'"),
        ({"inner": {}}, "^room.inner.lr: missing"),
        ({}, "^room.inner: missing"),
        ({"inner": 3}, "^room.inner=3: expected Mapping, not int"),
        ({"inner": {"lr": "fast"}}, "^room.inner.lr='fast': expected float, not str"),
        ({"inner": {"lr": 1}, "size": 1.5}, "^room.size=1.5: expected int, not float"),
    ],
)
def test_freeze_names_the_key(part, line):
    with pytest.raises(UserError, match=line):
        config.freeze(Outer, part, "room")


PARTS = [
    *("data", "objective", "painter", "memory", "strategy", "optimizer", "drawing", "mesh"),
    "checkpoint",
]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "^duration: set exactly one of steps, examples, epochs"),
        ({"steps": 5, "epochs": 1.0}, "^steps and epochs: set exactly one"),
        ({"steps": 0}, "^steps=0: must be above 0"),
        ({"steps": 5, "batch_size": -1}, "^batch_size=-1: must be above 0"),
        ({"epochs": float("inf")}, "^epochs=inf: must be above 0, and finite"),
        ({"steps": 5, "ema": 1.0}, "^ema=1.0: must be"),
    ],
)
def test_a_run_s_ranges(values, line):
    parts = dict.fromkeys(PARTS)
    config.RunConfig(**parts, **{"batch_size": 8, "examples": 64})
    with pytest.raises(UserError, match=line):
        config.RunConfig(**parts, **{"batch_size": 8, **values})


# --- the run's file ------------------------------------------------------------------------------


def test_what_is_written_is_read(settings, tmp_path):
    config.write(settings, tmp_path / "run")
    again = config.read(tmp_path / "run")
    assert config.plain(again) == config.plain(settings)
    assert config.differences(settings, again) == []
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"]


def changed(settings, *arguments):
    return config.override(settings.copy_and_resolve_references(), arguments)


def test_a_begun_run_is_resumed_with_what_it_was_begun_with(settings, tmp_path):
    config.write(settings, tmp_path)
    other = changed(settings, "--config.optimizer.lr=1", "--config.seed=3")
    config.write(other, tmp_path)  # nothing was trained yet, so nothing is lost
    (tmp_path / "checkpoints" / "100").mkdir(parents=True)
    longer = changed(other, "--config.steps=5", "--config.mesh.fsdp=2", "--config.log_every=1")
    config.override(longer, ["--config.data.cache=100"])  # there may be less memory, or more
    config.write(longer, tmp_path)
    assert config.read(tmp_path).steps == 5
    with pytest.raises(UserError, match=r"begun with other settings \(optimizer.lr, seed\)"):
        config.write(settings, tmp_path)
    assert config.read(tmp_path).steps == 5


def test_what_a_run_came_to_is_of_its_config(settings, tmp_path):
    config.write(settings, tmp_path)
    (tmp_path / config.SUMMARY).write_text("{}")
    config.write(settings, tmp_path)
    assert (tmp_path / config.SUMMARY).exists()
    config.write(changed(settings, "--config.drawing.guidance_scale=3.0"), tmp_path)
    assert not (tmp_path / config.SUMMARY).exists()


def test_a_config_that_json_cannot_hold(settings, tmp_path):
    settings.unlock()
    settings.note = object()
    with pytest.raises(UserError, match="numbers, strings, lists and dicts only"):
        config.write(settings, tmp_path)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="not a run"):
        config.read(tmp_path)
    with pytest.raises(UserError, match="not a run"):
        config.read(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", '{"batch_size": 8', "[1, 2]", "3", "\x00"])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json: damaged"):
        config.read(tmp_path)
