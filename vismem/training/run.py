"""What training, evaluation and drawing share: the parts of a run, made from its config."""

import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

import vismem
from vismem import config as configs
from vismem import registry
from vismem.config import RunConfig
from vismem.data import Source, tokenizers
from vismem.data.tokenizers import Tokenizer
from vismem.drawing import solvers
from vismem.drawing.artist import Artist, make_diversity
from vismem.errors import UserError
from vismem.evaluation import EVALUATORS
from vismem.evaluation.base import Evaluator, check_counts, shared
from vismem.evaluation.critic import Critic
from vismem.evaluation.expander import Expander
from vismem.evaluation.reader import Reader
from vismem.objectives import OBJECTIVES
from vismem.objectives.autoencode import PLAYER
from vismem.objectives.base import Objective, fingerprint
from vismem.parallel import hosts
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.pretrained import checkpoint
from vismem.training import encoders
from vismem.training.checkpoint import Checkpoints
from vismem.training.logging import write_whole
from vismem.training.names import Flat, names
from vismem.training.state import Layout, State

TOKENIZER = "tokenizer"  # its folder in the run's
UNKNOWN = [{"since": 0, "commit": None, "changed": []}]  # code, of checkpoints that do not say it
log = logging.getLogger(__name__)
LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def make_tokenizer(config: RunConfig, folder: Path, source: Source) -> Tokenizer:
    """The run's tokenizer; the saved one once there is a checkpoint, before which settings change.

    A pretrained text encoder brings its own: of `data.tokenizer` only the length counts, as it
    does where a run begins with what another has learned, and has the other's.
    """
    saved = folder / TOKENIZER

    def make() -> None:
        if saved.exists() and configs.begun(folder):
            return
        partial = folder / f".{TOKENIZER}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        if config.start:
            configs.read(config.start)  # that it is a run
            length = config.data.tokenizer.get("length")
            made = tokenizers.load(Path(config.start) / TOKENIZER, length)
        else:
            choice = config.data.tokenizer
            pretrained = encoders.pretrained_folder(config, "text") or encoders.t5_folder(config)
            if pretrained:
                found = checkpoint.find(pretrained, tokenizer=True)
                brought = {"name": "pretrained", "folder": str(found)}
                choice = brought | {k: v for k, v in choice.items() if k == "length"}
            made = tokenizers.make(choice, source, config.data.on_error)
        made.save(partial)
        tokenizers.warn_of_cut(partial, source, config.data.on_error, config.data.pad_to)
        shutil.rmtree(saved, ignore_errors=True)
        partial.rename(saved)

    hosts.on_first(make)
    return tokenizers.load(saved)


def make_objective(config: RunConfig, tokenizer: Tokenizer, mesh: Mesh | None = None) -> Objective:
    """The objective; of the model's parts it asks for those it has a use for.

    Args:
      mesh: over which its batches will be sharded; one device by default.

    Raises:
      UserError: also if it cannot draw as `drawing` says.
    """
    objective = registry.build(
        OBJECTIVES,
        config.objective,
        "objective",
        text=config.text,
        vision=config.vision,
        fusion=config.fusion,
        painter=config.painter,
        memory=config.memory,
        strategy=config.strategy,
        vocab_size=tokenizer.vocab_size,
        image_size=config.data.size,
        mesh=mesh,
    )
    if hasattr(objective, "advance"):  # now, not at the first drawing
        drawing = config.drawing
        solvers.make(drawing.solver, drawing.steps, drawing.guidance_scale, objective)
        diversity = make_diversity(drawing.diversity)
        if diversity.strength:  # else it is left out
            diversity.check(objective)
    return objective


def make_evaluators(
    config: RunConfig, tokenizer: Tokenizer, mesh: Mesh, folder: Path
) -> dict[str, tuple[int, Evaluator]]:
    """Label -> steps between two evaluations (0: only at the end), and the evaluator.

    Args:
      mesh: of this host, which does its part of an evaluation by itself.
    """
    objective = make_objective(config, tokenizer, mesh)
    artist = Artist(objective, tokenizer, config.drawing)  # shared: it compiles what it draws with
    evaluators = {}
    for label, choice in config.evaluators.items():
        options = dict(choice)
        every = options.pop("every", 0)
        registry.check_type(every, int, f"evaluators.{label}.every")
        if every < 0:
            raise UserError(f"evaluators.{label}.every={every}: must not be negative")
        if "name" in options:
            kind = registry.resolve(EVALUATORS, options["name"], f"evaluators.{label}.name")
            check_counts(kind, options, f"evaluators.{label}")
        evaluators[label] = (
            every,
            registry.build(
                EVALUATORS,
                options,
                f"evaluators.{label}",
                objective=objective,
                artist=artist,
                critic=critic,
                tokenizer=tokenizer,
                mesh=mesh,
                data=config.data,
                seed=config.seed,
                folder=folder,
                open_expander=expander,
            ),
        )
    return evaluators


def restore(
    config: RunConfig, folder: Path, step: int | None = None
) -> tuple[Objective, Tokenizer, Mesh, State]:
    """A run as its newest checkpoint, or that of `step`, has it; neither the source of its data nor
    the devices that it was trained on are needed."""
    with Checkpoints(folder, config.checkpoint, read_only=True) as checkpoints:
        about = checkpoints.about()
        tokenizer = tokenizers.load(folder / TOKENIZER)
        config = encoders.resolve(config, tokenizer, folder)
        try:
            mesh = make_mesh(config.mesh)
        except UserError:  # there are other devices here
            mesh = make_mesh(MeshConfig(data=1, fsdp=-1))
        objective = make_objective(config, tokenizer, mesh)
        batch = {
            name: jax.ShapeDtypeStruct(tuple(shape), dtype)
            for name, (shape, dtype) in about["batch"].items()
        }
        layout = Layout(objective, config.optimizer, batch, mesh, steps=about["steps"])
        state, _, _ = checkpoints.restore(layout.shapes, step)
    return objective, tokenizer, mesh, state


def given(
    config: RunConfig, tokenizer: Tokenizer, layout: Layout, mesh: Mesh
) -> tuple[Flat, dict[str, str]]:
    """The parameters that others have learned and a new run begins with, by name; and of the runs
    that they come from, by folder, a hash of what these had learned."""
    shapes = names(layout.shapes["params"])
    lent: Flat = {}
    inputs = {}
    if config.start:
        known = learned(Path(config.start))
        inputs[config.start] = fingerprint(known)
        lent = {n: x for n, x in known.items() if n in shapes and shapes[n].shape == x.shape}
        if not lent:
            raise UserError(f"start={config.start!r}: has no parameters that this run could use")
    if folder := encoders.autoencoder_folder(config):
        choice = config.objective["autoencoder"]
        found = lent_autoencoder(choice, shapes, mesh)
        lent |= found
        if "name" not in choice:  # a run's
            inputs[folder] = fingerprint(found)
    placed = {name: jax.device_put(x, shapes[name].sharding) for name, x in lent.items()}
    return encoders.parameters(config, tokenizer, layout, mesh) | placed, inputs


def lent_autoencoder(choice: Mapping[str, Any], shapes: Flat, mesh: Mesh) -> Flat:
    """The parameters, by name, of the autoencoder on whose grid a run draws: another run's, or if
    it has a name a pretrained one's.

    Args:
      choice: options of `make_codec`, as `encoders.resolve` gives them.
      shapes: of the drawing run's parameters, by name.

    Raises:
      UserError: the folder holds another autoencoder than it did when the run's folder was made.
    """
    source, place = choice["folder"], f"{PLAYER}/"
    if "name" in choice:
        found = names(checkpoint.load(source, mesh=mesh).params)
    else:
        known = learned(Path(source))
        found = {n.removeprefix(place): x for n, x in known.items() if n.startswith(place)}
    found = encoders.placed(found, place, shapes, source)
    encoders.check_same(source, choice, encoders.codec_options(source))
    return found


def learned(folder: Path) -> Flat:
    """The running average of a run's parameters by name, as numpy arrays."""
    *_, state = restore(configs.run_config(configs.read(folder)), folder)
    return names(jax.device_get(hosts.local(state["ema"])))


def evaluate(config: RunConfig, folder: Path) -> dict[str, float]:
    """All numbers of all evaluators on the newest checkpoint: the table that training ends with."""
    _, tokenizer, mesh, state = restore(config, folder)
    config = encoders.resolve(config, tokenizer, folder)
    evaluators = make_evaluators(config, tokenizer, mesh.local_mesh, folder)
    here = {**state, "ema": hosts.local(state["ema"])}
    measures = [
        shared(evaluator, here, lambda f, *x: f(*x)) for _, evaluator in evaluators.values()
    ]

    def numbers() -> dict[str, float]:
        found: dict[str, Any] = {}
        for measure in measures:
            found |= measure()
        return {name: float(x) for name, x in found.items() if isinstance(x, (int, float))}

    return hosts.on_first(numbers)


def load(folder: str | Path, step: int | None = None) -> Artist:
    """The artist of a run: draws with the running average of its newest checkpoint, or of the one
    that it keeps of `step`."""
    config = configs.run_config(configs.read(folder))
    objective, tokenizer, _, state = restore(config, Path(folder), step)
    if not hasattr(objective, "advance"):
        raise UserError(f"{folder}: its objective {config.objective['name']!r} does not draw")
    return Artist(objective, tokenizer, config.drawing, state["ema"])


def reader(folder: str | Path) -> Reader:
    """The reader of a run: puts pictures into words with the average of its newest checkpoint."""
    config = configs.run_config(configs.read(folder))
    objective, tokenizer, _, state = restore(config, Path(folder))
    return Reader(objective, tokenizer, state["ema"])


def expander(folder: str | Path) -> Expander:
    """The expander of a run: describes in full what a request leaves open."""
    config = configs.run_config(configs.read(folder))
    objective, tokenizer, _, state = restore(config, Path(folder))
    return Expander(objective, tokenizer, state["ema"])


def critic(folder: str | Path) -> Critic:
    """The critic of a run with two towers, with the running average of its newest checkpoint.

    All hosts must get here; each has the critic to itself.
    """
    config = configs.run_config(configs.read(folder))
    objective, tokenizer, _, state = restore(config, Path(folder))
    return Critic(objective, tokenizer, hosts.local(state["ema"]))


def describe(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes and dtypes of a batch as JSON holds them, for `restore`."""
    return {name: (tuple(x.shape), str(x.dtype)) for name, x in batch.items()}


def code() -> dict[str, Any]:
    """The `commit` of this package, or None, and the files of it `changed` since, as git has it."""

    def git(*command: str) -> str:
        here = ("git", "-C", str(Path(vismem.__file__).parent), *command)
        return subprocess.run(here, capture_output=True, text=True, check=False).stdout

    if not shutil.which("git") or not (commit := git("rev-parse", "HEAD").strip()):
        return {"commit": None, "changed": []}
    status = git("status", "--porcelain", "--no-renames", "--untracked-files=all", "--", ".")
    return {"commit": commit, "changed": [line[3:] for line in status.splitlines()]}


def history(
    earlier: list[dict[str, Any]], code: Mapping[str, Any], step: int
) -> list[dict[str, Any]]:
    """The code that made a run, oldest first: what `code` gave, and the step `since` which it did.

    Args:
      earlier: this, up to `step`. code: what goes on from there.
    """
    if earlier and {**earlier[-1], **code} == earlier[-1]:
        return earlier
    if earlier:
        log.warning(
            "step %d: goes on at commit %s, before at %s; `vismem table` leaves the run out if "
            "they make other numbers",
            *(step, code["commit"], earlier[-1]["commit"]),
        )
    return [*earlier, {"since": step, **code}]


def write_summary(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes summary.json: facts of a run that ended, the `commit` of the last `code` that made it,
    and the devices and versions of what ran it."""
    devices = jax.devices()
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    versions |= {"vismem": vismem.__version__, "python": platform.python_version()}
    here = {"kind": devices[0].device_kind, "count": len(devices), "hosts": jax.process_count()}
    if here["kind"] == "cpu":
        here["cores"] = cores()
    summary = {
        **facts,
        "commit": facts["code"][-1]["commit"],
        "devices": here,
        "versions": versions,
    }
    write_whole(folder / configs.SUMMARY, json.dumps(summary, indent=2) + "\n")
    return summary


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What summary.json holds; None where there is none that can be read."""
    try:
        return json.loads((folder / configs.SUMMARY).read_text())
    except (FileNotFoundError, ValueError):
        return None
