"""What the scans cost: memory of a training step against R, compile time of drawing against T.

    python benchmarks/scan.py

Memory is the compiled program's temporary bytes, so that it does not depend on what else runs;
compile times are compared within this one process, alternating. A step is computed again in the
backward pass ("remat"), or kept in the stacks of a scan ("kept"), or, as flow trains without
remat, laid out R times ("laid out").
"""

import contextlib
import statistics
import sys
import time
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp

from vismem import config as configs
from vismem.drawing.scan import Guidance, draw
from vismem.drawing.solvers import Euler
from vismem.errors import exit_code
from vismem.objectives.flow import PLAYER, Flow

VOCABULARY, LENGTH = 300, 24
LENGTHS = (1, 2, 4, 8)  # R


def make_flow(unroll: int, remat: bool) -> Flow:
    """The quickstart's model with another R, and all of a batch chains."""
    run = configs.run_config(configs.load("experiments/quickstart.py"))
    options = {k: v for k, v in run.objective.items() if k != "name"}
    return Flow(
        text=run.text,
        vision=run.vision,
        fusion=run.fusion,
        painter=run.painter,
        memory=run.memory,
        strategy=run.strategy,
        vocab_size=VOCABULARY,
        image_size=run.data.size,
        **options | {"unroll": unroll, "remat": remat, "chains": 1.0},
    )


def step_bytes(unroll: int, way: str, batch_size: int = 32) -> int:
    """Temporary bytes of one gradient."""
    flow = make_flow(unroll, way != "laid out")
    batch = {
        "image": jax.ShapeDtypeStruct((batch_size, 32, 32, 3), jnp.uint8),
        "tokens": jax.ShapeDtypeStruct((batch_size, LENGTH), jnp.int32),
    }
    params = nn.unbox(jax.eval_shape(flow.init, jax.random.key(0), batch))
    gradient = jax.jit(jax.grad(lambda p, b: flow.loss(PLAYER, p, b, jax.random.key(0))[0]))
    no_remat = mock.patch.object(jax, "checkpoint", lambda step: step)
    with no_remat if way == "kept" else contextlib.nullcontext():
        lowered = gradient.lower(params, batch)
    # Buffers are assigned before machine code is made: optimising that would only take time.
    compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})
    return compiled.memory_analysis().temp_size_in_bytes


def compile_seconds(steps: int) -> float:
    """From tracing to a program that draws in so many steps."""
    flow = make_flow(2, False)
    tokens = jax.ShapeDtypeStruct((32, LENGTH), jnp.int32)
    image = jax.ShapeDtypeStruct((32, 32, 32, 3), jnp.uint8)
    batch = {"image": image, "tokens": tokens}
    params = nn.unbox(jax.eval_shape(flow.init, jax.random.key(0), batch))
    program = jax.jit(
        lambda p, t: draw(flow, p, t, jax.random.key(0), Euler(steps), Guidance(scale=2.0))[0]
    )
    start = time.perf_counter()
    program.lower(params, tokens).compile()
    return time.perf_counter() - start


def main() -> None:
    print("MB of a step", *(f"{f'R={r}':>7}" for r in LENGTHS), " R=8 less R=1")
    growth = {}
    for way in ("remat", "kept", "laid out"):
        row = []
        print(f"{way:12}", end="")
        for r in LENGTHS:
            row.append(step_bytes(r, way) / 1e6)
            print(f" {row[-1]:7.1f}", end="", flush=True)
        growth[way] = row[-1] - row[0]
        print(f" {growth[way]:13.1f}")
    print(f"growth kept / remat: {growth['kept'] / growth['remat']:.1f} (bar: at least 2)")
    compile_seconds(3)  # whatever is only paid once
    pairs = [(compile_seconds(5), compile_seconds(50)) for _ in range(3)]
    ratio = statistics.median(long / short for short, long in pairs)
    print(f"compile time of drawing at T=50 over T=5: {ratio:.2f} (bar: at most 1.10)")


if __name__ == "__main__":
    sys.exit(exit_code("scan.py", main))
