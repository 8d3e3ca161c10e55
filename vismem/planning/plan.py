"""A run's train step for a machine that is not here: what it takes of every chip."""

import dataclasses
import inspect
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
from jax.sharding import Mesh

from vismem import registry
from vismem.config import RunConfig, plain
from vismem.data import TOKENIZERS, pipeline
from vismem.objectives.base import Objective
from vismem.parallel.mesh import batch_shards, check_batch, make_mesh
from vismem.planning.chips import Chip, Gpu
from vismem.planning.collectives import Traffic, traffic
from vismem.pretrained import checkpoint, encoders
from vismem.training import image_cache, run, text_cache
from vismem.training.encoders import codec_options, pretrained_folder, t5_folder, t5_options
from vismem.training.flops import matmul_flops, train_flops
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

# The compiler spends a fifth of its time where it need not make the program fast. Which collectives
# it needs is settled before. Memory comes out larger: activations stay in HBM that would else be in
# the chip's vector memory (experiments/RESULTS.md, "Plans").
EFFORT = {"optimization_level": 9}  # XLA's O0
# Products by the library: without a GPU to try them on, kernels made for them may not tile.
ON_GPUS = {"xla_gpu_enable_triton_gemm": False, "xla_gpu_autotune_level": 0}
SCALE = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Plan:
    """What a step takes.

    Attributes:
      chip: of the machine. mesh: axis -> its size.
      batch_size: pictures a step.
      parameters: of the model.
      state: bytes a chip of each part of the state ("params", "opt", "ema"), and of the batch.
      working: bytes a chip of all else: activations, gradients, copies, the program.
      gradients: bytes a chip of them alone.
      available: bytes a chip that programs may use, if the compiler said, as it does where they do
        not suffice.
      model_flops: that a step needs, whatever is computed again.
      flops: of a step's products as they are computed.
      collectives: kind -> traffic of a chip; None where the step does not fit.
      compile_seconds: that compilation took.
    """

    chip: Chip
    mesh: dict[str, int]
    batch_size: int
    parameters: int
    state: dict[str, int]
    working: int
    gradients: int
    available: int | None
    model_flops: int
    flops: int
    collectives: dict[str, Traffic] | None
    compile_seconds: float

    @property
    def chips(self) -> int:
        return math.prod(self.mesh.values())

    @property
    def used(self) -> int:
        """Bytes a chip."""
        return sum(self.state.values()) + self.working

    @property
    def share(self) -> float:
        """The model's of the products that are computed."""
        return self.model_flops / self.flops if self.flops else 1.0

    @property
    def fits(self) -> bool:
        return self.collectives is not None

    @property
    def over(self) -> int:
        """Bytes a chip that are too many, if it does not fit."""
        return self.used - self.memory

    @property
    def memory(self) -> int:
        """Bytes a chip that programs may use."""
        return self.available or int(self.chip.memory)

    @property
    def bounds(self) -> dict[str, float]:
        """What keeps a chip busy -> seconds a step that it takes at least, by published figures.

        Of the memory's traffic only that which must be: state and working memory are written once
        and read once. What does not fit has no bound for the interconnect.
        """
        found = {
            "products": self.flops / (self.chips * self.chip.flops),
            "memory": 2 * self.used / self.chip.bandwidth,
        }
        if self.collectives is not None:
            sent = sum(traffic.bytes for traffic in self.collectives.values())
            found["interconnect"] = sent / self.chip.interconnect
        return found

    @property
    def seconds(self) -> float:
        """A step takes at least this, were all of the above done at once."""
        return max(self.bounds.values())

    @property
    def rate(self) -> float:
        """Pictures a second, at most."""
        return self.batch_size / self.seconds

    @property
    def mfu(self) -> float:
        """Model FLOPs over the chips' peak, at most."""
        return self.model_flops / (self.chips * self.chip.flops * self.seconds)


@dataclass(frozen=True)
class Prepared:
    """What is known of a step before it is compiled.

    Attributes:
      mesh: over the machine's devices.
      objective, layout: of the run. batch: shapes of what the step is given.
    """

    mesh: Mesh
    objective: Objective
    layout: Layout
    batch: dict[str, jax.ShapeDtypeStruct]

    @property
    def state(self) -> dict[str, int]:
        """Bytes a chip of each part of the state, and of the batch."""
        found = {part: held(self.layout.shapes[part]) for part in ("params", "opt", "ema")}
        size = sum(math.prod(x.shape) * x.dtype.itemsize for x in self.batch.values())
        return found | {"batch": size // batch_shards(self.mesh)}

    @property
    def gradients(self) -> int:
        """Bytes a chip of a player's gradients, of the one that has most."""
        optimizer, params = self.layout.optimizer, self.layout.shapes["params"]
        players = set(self.objective.players)
        return max(held(optimizer.split(player, params[player])[0]) for player in players)


def prepare(config: RunConfig, devices: Sequence[jax.Device]) -> Prepared:
    """Lays a run out over `devices`.

    No more of the data is read than its first record, if it is here.

    Raises:
      UserError: a mistake in the config; a mesh or a batch that does not fit the devices.
    """
    mesh = make_mesh(config.mesh, devices)
    check_batch(config.batch_size, mesh.shape, config.optimizer.accumulate)
    objective, batch = parts(config, mesh)
    layout = Layout(objective, config.optimizer, batch, mesh, steps=config.steps or 1)
    for cache in (text_cache, image_cache):
        batch = cache.shapes(config, objective, layout.optimizer, layout.shapes["params"], batch)
    return Prepared(mesh, objective, layout, batch)


def make(config: RunConfig, chip: Chip, devices: Sequence[jax.Device]) -> Plan:
    """Compiles the train step that `training/loop.py` would run on `devices`."""
    prepared = prepare(config, devices)
    layout, batch, mesh = prepared.layout, prepared.batch, prepared.mesh
    step = compiled(
        make_train_step(
            prepared.objective, layout.optimizer, config.ema, config.optimizer.accumulate
        ),
        layout.shardings,
        mesh,
    )
    begun = time.perf_counter()
    lowered = step.lower(layout.shapes, batch)
    used = available = collectives = None
    try:
        program = lowered.compile(compiler_options=ON_GPUS if isinstance(chip, Gpu) else EFFORT)
    except jax.errors.JaxRuntimeError as error:
        used, available = missing_memory(error)
    else:
        memory = program.memory_analysis()
        used = memory.argument_size_in_bytes + memory.temp_size_in_bytes
        used += memory.output_size_in_bytes - memory.alias_size_in_bytes
        used += memory.generated_code_size_in_bytes
        if used <= chip.memory:  # compilers of GPUs do not say
            collectives = traffic(program.as_text())
    seconds = time.perf_counter() - begun
    state, params = prepared.state, layout.shapes["params"]
    return Plan(
        chip=chip,
        mesh=dict(mesh.shape),
        batch_size=config.batch_size,
        parameters=layout.parameters(),
        state=state,
        working=max(0, used - sum(state.values())),
        gradients=prepared.gradients,
        available=available,
        model_flops=train_flops(prepared.objective, layout.optimizer, params, batch),
        flops=matmul_flops(step, layout.shapes, batch),
        collectives=collectives,
        compile_seconds=seconds,
    )


def parts(
    config: RunConfig, mesh: Mesh | None
) -> tuple[Objective, dict[str, jax.ShapeDtypeStruct]]:
    """The objective, and the shapes of a batch as the data gives it."""
    for part in encoders.ENCODERS:
        choice = getattr(config, part)
        if "encoder" not in choice and (folder := pretrained_folder(config, part)):
            choice = choice | encoders.options(encoders.describe(folder, part), part)
            config = dataclasses.replace(config, **{part: choice})
    if isinstance(source := config.objective.get("autoencoder"), str):
        objective = config.objective | {"autoencoder": plain(codec_options(source))}
        config = dataclasses.replace(config, objective=objective)
    if source := t5_folder(config):
        found = t5_options(source, checkpoint.describe(source))
        config = dataclasses.replace(config, text={**config.text, **found})
    tokenizer = SimpleNamespace(vocab_size=vocabulary(config))
    return run.make_objective(config, tokenizer, mesh), shapes(config)


def shapes(config: RunConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Of a batch as the data gives it."""
    return pipeline.shapes(config.data, config.batch_size, tokenizer_option(config, "length"))


def vocabulary(config: RunConfig) -> int:
    """Tokens that the run's tokenizer will know, at most."""
    if pretrained_folder(config, "text"):
        return config.text["encoder"]["vocab_size"]
    if t5_folder(config):
        return config.text["vocab_size"]
    if config.data.tokenizer["name"] == "byte":
        return registry.resolve(TOKENIZERS, "byte", "data.tokenizer.name").vocab_size
    return tokenizer_option(config, "vocab_size")


def tokenizer_option(config: RunConfig, option: str) -> int:
    """What the config says of the tokenizer, or the tokenizer's default."""
    choice = config.data.tokenizer
    brought = pretrained_folder(config, "text") or t5_folder(config)
    name = "pretrained" if brought else choice.get("name")
    declared = inspect.signature(registry.resolve(TOKENIZERS, name, "data.tokenizer.name"))
    return choice.get(option, declared.parameters[option].default)


def held(tree: Any) -> int:
    """Bytes that each device holds of arrays, given as shapes with shardings."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def missing_memory(error: Exception) -> tuple[int, int]:
    """Bytes that a program would take of a chip's memory and bytes that there are, as the compiler
    complains."""
    amounts = re.findall(r"([\d.]+)([KMG])i?B?\b", str(error))
    if "RESOURCE_EXHAUSTED" not in str(error) or len(amounts) < 2:
        raise error
    used, available = (int(float(number) * SCALE[unit]) for number, unit in amounts[:2])
    return used, available
