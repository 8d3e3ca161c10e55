"""What the training loop costs beside the bare jitted step, and the share of the matmul peak.

    python benchmarks/loop.py [experiments/quickstart.py] [--blocks 40] [--config.KEY=VALUE ...]

The loop, the bare step and the product that is the peak run in turns in one process, a block of
steps each, so that what else the machine does falls on all; ratios are medians over the blocks,
with their 95% intervals by the bootstrap. Many short blocks tell more than a few long ones, as the
machine's noise lasts for seconds; what an evaluation costs the loop is in them too. The bare step
gets a batch that is on the device already; everything else (data, transfers, metrics, log) is the
loop's. The share of the peak is told twice: by the products of the loss and its gradient, which the
log's is, and by these and the optimizer's.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vismem import config as configs
from vismem.__main__ import keep_memory
from vismem.data import pipeline
from vismem.errors import exit_code
from vismem.evaluation import EVALUATORS
from vismem.parallel import hosts
from vismem.training import loop
from vismem.training.flops import machine_peak, matmul_flops, matmul_peak, train_flops
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step


class BareStep:
    """An evaluator that times as many bare steps as the loop made since the evaluation before."""

    # Seconds of the loop's steps and of as many bare ones, FLOP/s of the peak.
    blocks: list[tuple[float, float, float]]
    settings: configs.RunConfig
    steps: int

    def __init__(self, *, objective, mesh, tokenizer):
        config, rng = self.settings, np.random.default_rng(0)
        shapes = pipeline.shapes(config.data, config.batch_size, tokenizer.length)
        batch = {
            name: rng.integers(0, min(256, tokenizer.vocab_size), x.shape).astype(x.dtype)
            for name, x in shapes.items()
        }
        layout = Layout(objective, config.optimizer, shapes, mesh, steps=1000)
        step = make_train_step(objective, layout.optimizer, config.ema, config.optimizer.accumulate)
        self.step = compiled(step, layout.shardings, mesh)
        self.batch = hosts.put(batch, mesh)
        params = layout.shapes["params"]
        type(self).flops = train_flops(objective, layout.optimizer, params, shapes)
        type(self).optimizer_flops = sum(
            matmul_flops(
                layout.optimizer.players[player].update,
                trained := layout.optimizer.split(player, params[player])[0],
                layout.shapes["opt"][player],
                trained,
            )
            for player in objective.players
        )
        self.mesh, self.since = mesh, None

    def run(self, state):
        of_loop = time.perf_counter() - self.since if self.since else None
        state, metrics = self.step(jax.tree.map(jnp.copy, state), self.batch)  # compiled, the first
        jax.block_until_ready(metrics)
        begun = time.perf_counter()
        for _ in range(self.steps):
            state, metrics = self.step(state, self.batch)
        jax.block_until_ready(metrics)
        bare = time.perf_counter() - begun
        if of_loop is not None:
            matmul_peak.cache_clear()
            self.blocks.append((of_loop, bare, machine_peak(self.mesh)))
        self.since = time.perf_counter()
        return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default="experiments/quickstart.py")
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10, help="of a block")
    options, settings = parser.parse_known_args()

    file = configs.override(configs.load(options.file), settings)
    steps = (options.blocks + 1) * options.steps  # the first block is mostly compilation
    file.evaluators = {"bare": {"name": "bare", "every": options.steps}}
    file.checkpoint = {"every": 1_000_000, "best": ""}
    configs.override(file, [f"--config.steps={steps}"])
    EVALUATORS["bare"] = f"{__name__}:BareStep"
    BareStep.settings, BareStep.steps, BareStep.blocks = configs.run_config(file), options.steps, []
    with tempfile.TemporaryDirectory() as folder:
        loop.train(BareStep.settings, Path(folder))

    of_loop, bare, peak = np.array(BareStep.blocks).T
    seconds = bare / options.steps
    of_loss, of_both = BareStep.flops, BareStep.flops + BareStep.optimizer_flops
    print(f"step         {1e3 * np.median(seconds):.1f} ms, best {1e3 * min(seconds):.1f} ms")
    print(f"matmul peak  {np.median(peak) / 1e9:.0f} GFLOP/s, best {max(peak) / 1e9:.0f}")
    for what, flops in {"loss's": of_loss, "and optimizer's": of_both}.items():
        print(f"  {what:16} {flops / 1e9:5.1f} GFLOP, used {spread(flops / peak / seconds)}")
    print(f"loop / step  {spread(of_loop / bare)}")


def spread(ratios: np.ndarray) -> str:
    """Their median with its interval, and how far they are apart."""
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return (
        f"{np.median(ratios):.3f} (95%: {low:.3f} to {high:.3f}), "
        f"blocks {min(ratios):.3f} to {max(ratios):.3f}"
    )


if __name__ == "__main__":
    keep_memory()  # as `vismem train` does
    sys.exit(exit_code("loop.py", main))
