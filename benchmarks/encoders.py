"""Encoders against the same models in transformers: forward, and forward and backward; and CLIP's
training step.

    python -m venv A && A/bin/pip install torch==2.13.0 transformers
    python -m venv B && B/bin/pip install jax==0.10.2 flax==0.12.8 "transformers==4.57.*"
    python benchmarks/encoders.py --torch A/bin/python --flax B/bin/python [--models bert vit]
    python benchmarks/encoders.py --torch A/bin/python --models clip

BERT-base with 128 tokens and ViT-B/16 at 224 px, float32, batch 8, two threads, random weights; the
gradient is that of the mean square of the last layer, for all parameters, without dropout. The step
is that of two towers, a ViT-Ti/16 at 224 px and as large a text transformer of 77 tokens, batch 64:
softmax loss, gradients clipped by their norm, AdamW; ours is the objective `contrastive` in the
step of our loop, which also averages the parameters. Each side is a process of its own with glibc's
settings of `vismem`. They take turns, so that what else the machine does falls on all; in its turn
each calls twice, and the second counts, since the first finds the machine's memory as the other
side left it. Ratios are of neighbouring turns, and of each side's best call.

Where both sides see a GPU they run there, products in bfloat16 and PyTorch's model compiled
(`torch.compile`, autocast): that has not been run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product

BATCH, TOKENS, PIXELS, WORDS, THREADS = 8, 128, 224, 30_522, 2
ARCHITECTURES = {"bert": "BertModel", "vit": "ViTModel"}
WAYS = {"bert": ("forward", "both"), "vit": ("forward", "both"), "clip": ("step",)}
# Of CLIP: rows, tokens, vocabulary, the embeddings' width, and the sizes of both transformers.
PAIRS, LENGTH, PIECES, SHARED = 64, 77, 49_408, 256
TINY = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3}
LR, DECAY, CLIP = 1e-3, 0.1, 1.0


def ours(model: str, scan: bool = False) -> dict[str, Callable[[], object]]:
    """A call for each of the model's WAYS, that returns when it is done."""
    if model == "clip":
        return our_step(scan)
    import dataclasses
    import json

    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    from transformers import CONFIG_MAPPING

    from vismem.pretrained import checkpoint

    config = json.loads(CONFIG_MAPPING[model]().to_json_string(use_diff=False))
    config["architectures"] = [ARCHITECTURES[model]]
    config = checkpoint.family_of(config).settle(config, {"pooler.dense.weight"})
    module, shapes = checkpoint.build(config)
    dtype = jnp.bfloat16 if jax.default_backend() == "gpu" else jnp.float32
    module = dataclasses.replace(module, scan=scan, dtype=dtype)
    shapes, leaves = nn.unbox(shapes), iter(range(10_000))
    params = jax.tree.map(
        lambda x: 0.02 * jax.random.normal(jax.random.key(next(leaves)), x.shape), shapes
    )
    given = inputs(model)

    def encode(params):
        if model == "bert":
            return module.apply({"params": params}, given, None).tokens
        return module.apply({"params": params}, given.transpose(0, 2, 3, 1)).tokens

    return jax_calls(encode, params)


def our_step(scan: bool) -> dict[str, Callable[[], object]]:
    import jax

    from vismem.models.vision.vit import variant
    from vismem.objectives.contrastive import Contrastive
    from vismem.parallel import hosts
    from vismem.parallel.mesh import MeshConfig, make_mesh
    from vismem.training.optimizer import OptimizerConfig
    from vismem.training.state import Layout
    from vismem.training.step import compiled, make_train_step

    width, layers, heads = TINY.values()
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    objective = Contrastive(
        text={
            "name": "transformer",
            "width": width,
            "layers": layers,
            "heads": heads,
            "scan": scan,
        },
        vision={"name": "vit", **variant("Ti/16"), "scan": scan},
        vocab_size=PIECES,
        image_size=PIXELS,
        mesh=mesh,
        width=SHARED,
        dtype="bfloat16" if jax.default_backend() == "gpu" else "float32",
    )
    given = inputs("clip")
    config = OptimizerConfig("adamw", LR, "constant", weight_decay=DECAY, clip=CLIP)
    layout = Layout(objective, config, hosts.global_shapes(given, PAIRS), mesh, steps=1_000)
    step = compiled(make_train_step(objective, layout.optimizer, ema=0.999), layout.shardings, mesh)
    state, batch = layout.init(0), hosts.put(given, mesh)

    def call() -> None:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)

    return {"step": call}


def in_flax(model: str) -> dict[str, Callable[[], object]]:
    import transformers

    kind = getattr(transformers, f"Flax{ARCHITECTURES[model]}")
    encoder = kind(transformers.CONFIG_MAPPING[model]())
    given = inputs(model)
    return jax_calls(lambda params: encoder(given, params=params).last_hidden_state, encoder.params)


def jax_calls(encode: Callable, params: object) -> dict[str, Callable[[], object]]:
    import jax
    import jax.numpy as jnp

    forward = jax.jit(encode)
    both = jax.jit(jax.grad(lambda params: jnp.square(encode(params)).mean()))
    return {
        "forward": lambda: jax.block_until_ready(forward(params)),
        "both": lambda: jax.block_until_ready(both(params)),
    }


def in_torch(model: str) -> dict[str, Callable[[], object]]:
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    if model == "clip":
        return torch_step()
    kind = getattr(transformers, ARCHITECTURES[model])
    encoder, device = placed(kind(transformers.CONFIG_MAPPING[model]()).eval())
    given = torch.from_numpy(inputs(model)).to(device)

    def encode() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return encoder(given).last_hidden_state

    def forward() -> None:
        with torch.no_grad():
            encode()

    def both() -> None:
        encoder.zero_grad(set_to_none=True)
        encode().float().square().mean().backward()

    return {"forward": until_done(forward), "both": until_done(both)}


def placed(model):
    """A PyTorch model and its device: the GPU, if there is one, where it is compiled."""
    import torch

    if torch.cuda.is_available():
        return torch.compile(model.cuda()), "cuda"
    return model, "cpu"


def until_done(call: Callable[[], None]) -> Callable[[], None]:
    """A GPU works on after a call returns."""
    import torch

    def whole() -> None:
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return whole


def torch_step() -> dict[str, Callable[[], object]]:
    import torch
    import transformers

    sizes = TINY | {"intermediate_size": 4 * TINY["hidden_size"]}
    words = {"vocab_size": PIECES, "max_position_embeddings": LENGTH, "eos_token_id": PIECES - 1}
    config = transformers.CLIPConfig(
        text_config=sizes | words,
        vision_config=sizes | {"image_size": PIXELS, "patch_size": 16},
        projection_dim=SHARED,
    )
    model, device = placed(transformers.CLIPModel(config).train())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=DECAY)
    given = {name: torch.from_numpy(array).to(device) for name, array in inputs("clip").items()}
    pixels = (given["image"].permute(0, 3, 1, 2) / 127.5 - 1).contiguous()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        tokens = given["tokens"].long()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = model(input_ids=tokens, pixel_values=pixels, return_loss=True).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return {"step": until_done(step)}


def inputs(model: str):
    import numpy as np

    rng = np.random.default_rng(0)
    if model == "clip":
        tokens = rng.integers(1, PIECES, (PAIRS, LENGTH), dtype=np.int32)
        tokens[:, -1] = PIECES - 1  # where CLIP looks for the text's features
        return {
            "image": rng.integers(0, 256, (PAIRS, PIXELS, PIXELS, 3), np.uint8),
            "tokens": tokens,
        }
    if model == "bert":
        return rng.integers(0, WORDS, (BATCH, TOKENS))
    return rng.normal(size=(BATCH, 3, PIXELS, PIXELS)).astype(np.float32)


SIDES = {
    "ours": ours,
    "ours scanned": lambda model: ours(model, scan=True),
    "flax": in_flax,
    "torch": in_torch,
}


def serve(side: str, model: str) -> None:
    """Makes two calls for every line of input, and prints the seconds of the second."""
    calls = SIDES[side](model)
    for call in calls.values():
        call()  # compiles
    print("ready", flush=True)
    for line in sys.stdin:
        call = calls[line.strip()]
        call()
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, flush=True)


class Side:
    """A process that serves."""

    def __init__(self, python: str, side: str, model: str):
        # Here: the other sides' environments lack vismem.
        from vismem.__main__ import memory_settings

        command = [python, __file__, "--serve", side, model]
        threads = {"OMP_NUM_THREADS": str(THREADS), "PJRT_NPROC": str(THREADS)}
        self.process = subprocess.Popen(
            command,
            env=os.environ | memory_settings() | threads,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args}: ended; its error is above")
        return line.strip()

    def seconds(self, way: str) -> float:
        print(way, file=self.process.stdin, flush=True)
        return float(self.answer())


def measure(model: str, pythons: dict[str, str], rounds: int) -> None:
    sides = {side: Side(python, side, model) for side, python in pythons.items()}
    for side in sides.values():
        side.answer()
    spent = {(side, way): [] for side, way in product(sides, WAYS[model])}
    for way in WAYS[model] * rounds:
        for name, side in sides.items():
            spent[name, way].append(side.seconds(way))
            time.sleep(0.02)  # threads that still wait for work go to sleep
    for side in sides.values():
        side.process.stdin.close()
    for (name, way), times in spent.items():
        base = spent["ours", way]
        ratio = statistics.median(a / b for a, b in zip(base, times))
        print(
            f"{model:5} {way:8} {name:13} best {min(times):6.3f} s, median "
            f"{statistics.median(times):6.3f} s; ours / it: {ratio:.2f} (of best calls "
            f"{min(base) / min(times):.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="Python of an environment with torch and transformers")
    parser.add_argument("--flax", help="Python of one with transformers 4.57 and flax")
    parser.add_argument("--scan", action="store_true", help="also ours with its layers scanned")
    parser.add_argument("--models", nargs="+", choices=WAYS, default=["bert", "vit"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(*options.serve)
    pythons = {"ours": sys.executable} | ({"ours scanned": sys.executable} if options.scan else {})
    pythons |= {s: getattr(options, s) for s in ("flax", "torch") if getattr(options, s)}
    for model in options.models:
        measure(model, pythons, options.rounds)


if __name__ == "__main__":
    main()
