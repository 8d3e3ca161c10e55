"""What keys and values kept from cell to cell save, when tokens are drawn in row order.

    python benchmarks/raster.py [--texts 64] [--rounds 3]

The model of experiments/masked.py:raster with untrained weights draws the same texts twice, in
turns: one cell a step with its cache, and with a pass over all cells in every step. The tokens are
the same, which is checked.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vismem import config as configs
from vismem.drawing import solvers
from vismem.drawing.scan import Guidance, draw
from vismem.errors import exit_code
from vismem.models.generator import Carry
from vismem.objectives.masked import CERTAIN
from vismem.objectives.raster import Raster, number, read, write
from vismem.training.flops import matmul_flops

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "masked.py"
PARTS = ("text", "vision", "fusion", "painter", "memory", "strategy")


class Uncached(Raster):
    """Looks at all cells again for every one that it draws."""

    def prefill(self, params, carry, canvas, context):
        return None

    def step(self, params, carry, canvas, time, context):
        memory, logits, attention = self.apply(params, carry, canvas, time, context, method="step")
        place = number(time[0], canvas)
        return Carry(memory, write(CERTAIN * canvas, read(logits, place), place)), attention


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    run = configs.run_config(configs.load(f"{EXPERIMENT}:raster"))
    words, length = run.data.tokenizer["vocab_size"], run.data.tokenizer["length"]
    settings = {k: v for k, v in run.objective.items() if k not in ("name", "autoencoder")}
    settings |= {part: getattr(run, part) for part in PARTS} | {"autoencoder": {"folder": ""}}
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(1, words, (options.texts, length)), jnp.int32)
    ways = {
        name: made_by(vocab_size=words, image_size=run.data.size, **settings)
        for name, made_by in {"cached": Raster, "uncached": Uncached}.items()
    }
    size = (1, run.data.size, run.data.size, 3)
    example = {"image": jnp.zeros(size, jnp.uint8), "tokens": tokens[:1]}
    params = nn.unbox(jax.jit(ways["cached"].init)(jax.random.key(0), example))
    guidance = Guidance(run.drawing.guidance_scale)

    def drawing(objective):
        solver = solvers.make(
            run.drawing.solver, run.drawing.steps, run.drawing.guidance_scale, objective
        )
        return lambda params, tokens: draw(
            objective, params, tokens, jax.random.key(1), solver, guidance
        )[0].estimate

    flops = [matmul_flops(drawing(objective), params, tokens) for objective in ways.values()]
    programs = [jax.jit(drawing(objective)) for objective in ways.values()]
    first, second = (np.asarray(program(params, tokens)) for program in programs)  # compiled here
    assert (first == second).all(), "the cache changes what is drawn"
    seconds = []
    for _ in range(options.rounds):
        for program in programs:
            begun = time.perf_counter()
            program(params, tokens).block_until_ready()
            seconds.append(time.perf_counter() - begun)
    ratios = [long / short for short, long in zip(seconds[::2], seconds[1::2])]
    print(f"FLOPs    {flops[0]:.3g}, uncached {flops[1]:.3g}: {flops[1] / flops[0]:.1f} times")
    print(f"seconds  {min(seconds[::2]):.2f}, uncached {min(seconds[1::2]):.2f} at best")
    print(f"ratio    {statistics.median(ratios):.1f}, {min(ratios):.1f} to {max(ratios):.1f}")


if __name__ == "__main__":
    sys.exit(exit_code("raster.py", main))
