"""Losses, gradients and drawings of every objective are the same on one device and on meshes of
eight.

    python tests/objectives/test_meshes.py     # on every mesh of eight, where tests take one
                                               # and leave out diffusion, flow on another path,
                                               # and flow with nothing but chains
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Sizes of data, fsdp, tensor and slices.
ALL = [shape for shape in itertools.product((1, 2, 4, 8), repeat=4) if sum(map(bool, shape)) == 4]
ALL = [shape for shape in ALL if shape[0] * shape[1] * shape[2] * shape[3] == 8]
SLICED, SOME = (2, 1, 2, 2), (2, 2, 2, 1)  # the tests' mesh of one, and of all others
OBJECTIVES = [
    *("flow", "flow of turns", "flow, some chains", "diffusion", "gan", "regress", "masked"),
    *("masked, raster", "autoencode", "contrastive", "contrastive, sigmoid", "caption", "expand"),
]
LEFT_OUT = ("flow", "diffusion")  # of the tests
TOLERANCE = 1e-5  # of the largest number of an array


def make(name, mesh, size=8):
    """An objective, its heads and widths multiples of 8, and a batch."""
    import numpy as np

    from vismem import objectives, registry
    from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig

    rng = np.random.default_rng(0)
    text = {"name": "transformer", "width": 32, "layers": 1, "heads": 8}
    t5 = {"name": "t5", "width": 32, "layers": 1, "decoder_layers": 1, "heads": 8, "head_dim": 4}
    vit = {"name": "vit", "patch": 4, "width": 32, "layers": 1, "heads": 8, "hidden": 64}
    codes = {"levels": (3, 2), "patch": 2, "widths": (8,), "blocks": 0}
    drawn = {
        "text": text,
        "vision": {"name": "patches"},
        "fusion": {"name": "attention"},
        "painter": PainterConfig(width=32, layers=1, heads=8, patch=4, palette=2),
        "memory": MemoryConfig(slots=3, places=True),
        "strategy": StrategyConfig(),
        "vocab_size": 11,
        "image_size": 8,
    }
    reads = {"text": {**t5, "hidden": 64}, "vocab_size": 11}
    towers = {
        **{"text": text, "vision": {**vit, "pool": "mean"}, "vocab_size": 11},
        **{"image_size": 8, "width": 16, "mesh": mesh},
    }
    options = {
        "flow": drawn,
        "flow of turns": drawn,
        "flow, some chains": {**drawn, "unroll": 2, "chains": 0.5},
        "diffusion": drawn,
        "gan": {**drawn, "steps": 2, "unroll": 1},
        "regress": {**drawn, "steps": 2},
        "masked": {
            **drawn,
            "painter": PainterConfig(width=32, layers=1, heads=8, patch=2),
            "autoencoder": {"folder": "", **codes},
        },
        "masked, raster": {
            **drawn,
            "painter": PainterConfig(width=32, layers=1, heads=8, patch=1),
            "autoencoder": {"folder": "", **codes},
            "order": "raster",
        },
        "autoencode": {"image_size": 8, **codes},
        "contrastive": towers,
        "contrastive, sigmoid": {**towers, "loss": "sigmoid"},
        "caption": {**reads, "vision": {**vit, "pool": "mean"}, "image_size": 8},
        "expand": reads,
    }[name]
    made = registry.resolve(objectives.OBJECTIVES, name.split()[0].strip(","), "")(**options)
    turns = (3,) if name == "flow of turns" else ()
    batch = {
        "image": rng.integers(0, 256, (size, *turns, 8, 8, 3), np.uint8),
        "tokens": rng.integers(1, 11, (size, *turns, 5), np.int32),
    }
    if turns:
        batch["mask"] = np.ones((size, 3), bool)
    if name in ("caption", "expand"):
        batch["prompt_tokens"] = rng.integers(1, 11, (size, 5), np.int32)
    if name.startswith("contrastive"):
        batch["near_miss_tokens"] = rng.integers(1, 11, (size, 2, 5), np.int32)
    return made, batch


def errors(name, meshes):
    """The largest errors of losses, gradients and drawings on each mesh, of one device's."""
    import flax.linen as nn
    import jax
    import numpy as np

    from vismem.drawing import SOLVERS
    from vismem.drawing.scan import Guidance, draw
    from vismem.parallel import hosts, rules
    from vismem.parallel.mesh import MeshConfig, make_mesh
    from vismem.registry import resolve

    one, key = make_mesh(MeshConfig(), jax.devices()[:1]), jax.random.key(5)
    objective, batch = make(name, one)
    boxed = jax.eval_shape(objective.init, key, batch)
    leaves, tree = jax.tree.flatten(nn.unbox(jax.jit(objective.init)(key, batch)))
    rng = np.random.default_rng(0)
    # What starts at zero is moved, as training would.
    params = tree.unflatten([x + 0.1 * rng.standard_normal(x.shape, np.float32) for x in leaves])
    solvers = {"masked": ("reveal", 3), "masked, raster": ("reveal_evenly", 16)}
    solvers |= {"gan": ("renoise", 2)}
    solver, steps = solvers.get(name, ("euler", 3))
    solver = resolve(SOLVERS, solver, "")(steps)

    def numbers(mesh):
        objective, _ = make(name, mesh)

        def losses(params, batch):
            def loss(own, player):
                return objective.loss(player, {**params, player: own}, batch, key)[0]

            players = sorted(set(objective.players))
            return [jax.value_and_grad(loss)(params[p], p) for p in players]

        def drawing(params, tokens):
            return draw(objective, params, tokens, key, solver, Guidance())[0]

        placed, rows = jax.device_put(params, rules.shardings(boxed, mesh)), hosts.put(batch, mesh)
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # as in a train step
            found = [jax.jit(losses)(placed, rows)]
            if hasattr(objective, "start") and "mask" not in batch:
                found.append(jax.jit(drawing)(placed, rows["tokens"]))
            return jax.device_get(found)

    def size(x):
        return np.abs(x).max()

    # Some gradients are zero but for rounding, of keys' biases for instance: they have to stay so.
    def error(found, expected):
        zero = size(expected) < TOLERANCE * scale
        return float(size(found - expected) / (scale if zero else size(expected)))

    def largest(mesh):
        each = jax.tree.map(error, numbers(make_mesh(MeshConfig(*mesh))), expected)
        return max(jax.tree.leaves(each))

    assert jax.device_count() == 8
    expected = numbers(one)
    scale = max(size(x) for _, gradient in expected[0] for x in jax.tree.leaves(gradient))
    return [largest(mesh) for mesh in meshes]


def sent(name, sizes):
    """Bytes a device sends for a gradient on eight devices of fsdp, by the batch's size."""
    import flax.linen as nn
    import jax

    from vismem.parallel import rules
    from vismem.parallel.mesh import MeshConfig, make_mesh
    from vismem.planning.collectives import traffic

    mesh, key = make_mesh(MeshConfig(data=1, fsdp=8)), jax.random.key(0)

    def compiled(size):
        objective, batch = make(name, mesh, size)
        [player] = objective.players
        boxed = jax.eval_shape(objective.init, key, batch)
        placed = rules.shardings(boxed, mesh)
        gradient = jax.grad(lambda p, b: objective.loss(player, p, b, key)[0])
        shardings = (placed, rules.batch_sharding(mesh))
        step = jax.jit(gradient, in_shardings=shardings, out_shardings=placed)
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step.lower(nn.unbox(boxed), batch).compile().as_text()

    return [sum(kind.bytes for kind in traffic(compiled(size)).values()) for size in sizes]


def apart(function, name, argument):
    """One of these functions in a process of its own, since jax counts its devices once."""
    from devices import EIGHT  # found by pytest's path, and by the script's below

    command = [sys.executable, __file__, function.__name__, name, json.dumps(argument)]
    done = subprocess.run(command, env=os.environ | EIGHT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in LEFT_OUT])
def test_meshes_of_eight_agree_with_one_device(name):
    found = apart(errors, name, [SLICED if name == "flow, some chains" else SOME])
    assert max(found) < TOLERANCE


@pytest.mark.slow
def test_examples_are_not_gathered():
    """Kernels are, and gradients summed: three times the batch sends no more."""
    once, thrice = apart(sent, "flow", [8, 24])
    assert 0 < thrice <= 1.01 * once


if __name__ == "__main__":
    if len(sys.argv) > 1:
        function, objective, argument = sys.argv[1:]
        print(
            json.dumps({"errors": errors, "sent": sent}[function](objective, json.loads(argument)))
        )
        sys.exit()
    sys.path.append(str(Path(__file__).parents[1]))
    import conftest  # noqa: F401, how XLA compiles there

    for objective in OBJECTIVES:
        found = apart(errors, objective, ALL)
        worst = max(found)
        print(f"{objective:20} {worst:.1e} on {ALL[found.index(worst)]}", flush=True)
