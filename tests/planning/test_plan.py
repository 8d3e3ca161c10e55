"""Plans of a model that is simple enough to know what they must say."""

import contextlib
from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from vismem import config as configs
from vismem import pretrained
from vismem.data import MissingFiles, pipeline, source
from vismem.data.tokenizers import ByteTokenizer
from vismem.errors import UserError
from vismem.objectives import OBJECTIVES
from vismem.parallel import hosts
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.planning import machine, plan, search
from vismem.pretrained import autoencoder_kl, checkpoint

OBJECTIVES["products"] = "test_plan:Products"
BATCH, DEPTH = 64, 3


class Products:
    """One square kernel, applied `depth` times in a scan."""

    players = ("model",)

    def __init__(
        self, *, image_size: int, width: int = 256, depth: int = DEPTH, prompt: bool = False
    ):
        self.width, self.depth, self.prompt = width, depth, prompt

    def init(self, key, batch):
        self.prompt and batch["prompt_tokens"]
        init = nn.with_logical_partitioning(nn.initializers.lecun_normal(), ("embed", "mlp"))
        return {"model": {"kernel": init(key, (self.width, self.width))}}

    def loss(self, player, params, batch, key, train=True):
        x = jnp.tile(batch["image"].mean((1, 2, 3))[:, None] / 255, (1, self.width))
        kernel = params["model"]["kernel"]
        x, _ = jax.lax.scan(lambda x, _: (x @ kernel, None), x, length=self.depth)
        return jnp.square(x).mean(), {}


def run_config(**settings):
    config = ConfigDict({"batch_size": BATCH, "steps": 10})
    config.objective = {"name": "products"}
    config.data = {"size": 32, "tokenizer": {"name": "byte", "length": 4}}
    settings = [f"--config.{key}={value}" for key, value in settings.items()]
    return configs.run_config(configs.override(config, settings))


@pytest.fixture(scope="module")
def four():
    pytest.importorskip("libtpu", reason="no libtpu: pip install -e '.[plan]'")
    return machine.devices("v5e:2x2")


def test_what_a_step_takes(four):
    found = plan.make(run_config(**{"mesh.fsdp": 4, "mesh.data": 1}), *four)
    kernel = 256 * 256
    assert found.parameters == kernel
    assert found.chips == 4
    assert found.state["params"] == found.state["ema"] == 4 * kernel // 4
    assert 2 * found.state["params"] <= found.state["opt"] < 2.1 * found.state["params"]
    assert found.state["batch"] == BATCH * (32 * 32 * 3 + 4 * 4) // 4
    assert found.model_flops == 3 * DEPTH * 2 * BATCH * kernel
    # The scan's first product has no gradient to pass on, which a count of the scan cannot tell.
    assert found.flops == found.model_flops
    assert found.fits
    assert found.collectives
    assert 0 < found.mfu < 1


def test_what_does_not_fit_and_the_cheapest_change(four):
    """Parameters, moments and average of 4 GiB each on a chip of 16; half of them is fine."""
    config = run_config(**{"objective.width": 2**15, "mesh.data": 4})
    found = plan.make(config, *four)
    assert not found.fits
    assert found.used > found.available > 15 * 2**30
    settings, fitting = search.remedy(config, *four, found)
    assert settings == {"mesh.data": 2, "mesh.fsdp": 2}
    assert fitting.fits
    assert fitting.used < found.available


def test_gpus():
    pytest.importorskip(
        "jax_cuda12_plugin", reason="no compiler for GPUs: pip install -e '.[plan-gpu]'"
    )
    chip, four = machine.devices("h100:1x4")
    config = run_config(**{"mesh.fsdp": 4, "mesh.data": 1})
    found = plan.make(config, chip, four)
    kernel = 256 * 256
    assert found.chips == 4
    assert found.state["params"] == found.state["ema"] == 4 * kernel // 4
    assert found.model_flops == found.flops == 3 * DEPTH * 2 * BATCH * kernel
    assert found.fits
    assert found.used < 2**26  # 32 MiB of them cuBLAS's
    assert sum(kind.bytes for kind in found.collectives.values()) >= 4 * kernel * 3 // 4
    assert not plan.make(config, replace(chip, memory=found.used - 1), four).fits


def test_without_compilers(monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"vismem\[plan\]"):
        machine.devices("v5e:2x2")
    with pytest.raises(UserError, match=r"vismem\[plan-gpu\]"):
        machine.devices("h100:1x8")


def test_wrong_topologies():
    for name, message in {
        "v5e:4x4x4": "v5e has 2 sizes",
        "v7:2x2": "unknown kind",
        "h100:1x16": "a host has at most 8 h100",
    }.items():
        with pytest.raises(UserError, match=message):
            machine.devices(name)


EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.py"))


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_a_plan_s_batch_is_that_of_training(file, monkeypatch):
    monkeypatch.chdir(file.parents[1])  # data is named from there
    run = configs.run_config(configs.load(str(file)))
    run = replace(run, batch_size=2, data=replace(run.data, threads=0))
    try:
        records = source(run.data, "train")
    except MissingFiles as error:
        pytest.skip(str(error))
    tokenizer = ByteTokenizer(plan.tokenizer_option(run, "length"))
    real = pipeline.batches(run.data, records, tokenizer, run.batch_size, seed=1)
    with contextlib.closing(real):
        assert plan.shapes(run) == hosts.global_shapes(next(real), 2)


def missing(monkeypatch):
    """The files of all sources are gone."""

    def gone(*_):
        raise MissingFiles("gone")

    monkeypatch.setattr(pipeline, "source", gone)


@pytest.mark.parametrize("name", ["nlvr", "emoji", "cells"])
def test_without_its_files_the_batch_is_the_same(name, monkeypatch):
    [file] = (file for file in EXPERIMENTS if file.stem == name)
    monkeypatch.chdir(file.parents[1])
    run = configs.run_config(configs.load(str(file)))
    try:
        here = pipeline.shapes(run.data, 2, 8)
    except MissingFiles as error:
        pytest.skip(str(error))
    missing(monkeypatch)
    assert pipeline.shapes(run.data, 2, 8) == here


def test_conversations_in_files_need_the_files(tmp_path):
    run = run_config(**{"data.source": {"name": "geneva", "folder": str(tmp_path)}})
    with pytest.raises(UserError, match="no such file"):
        pipeline.shapes(run.data, 2, 8)


def test_an_objective_that_the_data_does_not_serve():
    with pytest.raises(UserError, match=r"needs 'prompt_tokens' of data, which data.source does"):
        plan.prepare(run_config(**{"objective.prompt": True}), jax.devices()[:1])


@pytest.mark.parametrize(
    ("tokenizer", "size"),
    [
        ({"name": "byte"}, 257),
        ({"name": "bpe", "vocab_size": 300}, 300),
        ({"name": "unigram"}, 1024),
    ],
)
def test_vocabulary_without_data(tokenizer, size):
    assert plan.vocabulary(run_config(**{"data.tokenizer": tokenizer})) == size


def test_pretrained_parts_that_are_not_here():
    file = Path(__file__).parents[2] / "experiments" / "coco.py"
    coco = configs.run_config(configs.load(str(file)))
    assert plan.vocabulary(coco) == 32_128
    objective, batch = plan.parts(coco, make_mesh(MeshConfig(), jax.devices()[:1]))
    found = {name: x.shape for name, x in batch.items()}
    assert found == {"image": (1024, 256, 256, 3), "tokens": (1024, 64)}
    assert (objective.codec.size, objective.codec.channels) == (32, 4)


def test_a_pretrained_autoencoder_is_planned_with_by_its_shapes(tmp_path, monkeypatch):
    settings = {"model_type": "AutoencoderKL", "architectures": ["AutoencoderKL"]}
    settings |= {"_class_name": "AutoencoderKL", **autoencoder_kl.DEFAULTS}
    settings |= {"block_out_channels": [4, 8], "norm_num_groups": 2}
    shapes = nn.unbox(checkpoint.build(settings)[1])
    params = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    pretrained.export(tmp_path, settings, params)
    monkeypatch.setattr(checkpoint, "load", None)  # weights are not read
    small = {
        "objective": {"name": "flow", "autoencoder": str(tmp_path)},
        "painter": {"width": 8, "layers": 1, "heads": 2, "patch": 2},
        "text": {"name": "transformer", "width": 8, "layers": 1, "heads": 2},
        "vision": {"name": "patches"},
        "fusion": {"name": "attention"},
        "memory.slots": 2,
    }
    objective, batch = plan.parts(run_config(**small), make_mesh(MeshConfig(), jax.devices()[:1]))
    planned = nn.unbox(jax.eval_shape(objective.init, jax.random.key(0), batch))
    assert objective.codec.size == 16
    assert jax.tree.map(lambda x: x.shape, planned["autoencoder"]) == jax.tree.map(
        jnp.shape, params
    )
