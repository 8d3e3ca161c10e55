"""What the training loop costs beside the bare jitted step, and the share of the matmul peak.

    python benchmarks/loop.py [experiments/quickstart.py] [--blocks 40] [--config.KEY=VALUE ...]

The loop and the bare step run in turns in one process, a block of steps each, so that what else
the machine does falls on both; the ratio is the median over the blocks, with its 95% interval by
the bootstrap. Many short blocks tell more than a few long ones, as the machine's noise lasts for
seconds; what an evaluation costs the loop is in them too. The bare step gets a batch
that is on the device already; everything else (data, transfers, metrics, log) is the loop's. The
share of the peak is told twice: by the products of the loss and its gradient, which the log's is,
and by these and the optimizer's.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vismem import config as configs
from vismem.__main__ import keep_memory
from vismem.errors import exit_code
from vismem.evaluation import EVALUATORS
from vismem.parallel import hosts
from vismem.training import loop
from vismem.training.flops import machine_peak, matmul_flops, train_flops
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step


class BareStep:
    """An evaluator that times as many bare steps as the loop made since the evaluation before."""

    blocks: list[tuple[float, float]]  # seconds of the loop's steps and of as many bare ones
    settings: configs.RunConfig
    steps: int

    def __init__(self, *, objective, mesh, tokenizer):
        config, size = self.settings, self.settings.data.size
        rng, rows = np.random.default_rng(0), config.batch_size
        batch = {
            "image": rng.integers(0, 256, (rows, size, size, 3), np.uint8),
            "tokens": rng.integers(
                0, tokenizer.vocab_size, (rows, tokenizer.length), dtype=np.int32
            ),
        }
        shapes = hosts.global_shapes(batch, rows)
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
        type(self).peak = machine_peak(mesh)
        self.since = None

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
            self.blocks.append((of_loop, bare))
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

    ratios = [of_loop / bare for of_loop, bare in BareStep.blocks]
    seconds = [bare / options.steps for _, bare in BareStep.blocks]
    median, best = statistics.median(seconds), min(seconds)
    of_loss, of_both = BareStep.flops, BareStep.flops + BareStep.optimizer_flops
    print(f"step         {1e3 * median:.1f} ms, best {1e3 * best:.1f} ms")
    print(f"matmul peak  {BareStep.peak / 1e9:.0f} GFLOP/s")
    for what, flops in {"loss's": of_loss, "and optimizer's": of_both}.items():
        typical, most = (flops / BareStep.peak / x for x in (median, best))
        print(f"  {what:16} {flops / 1e9:5.1f} GFLOP, used {typical:.0%}, best {most:.0%}")
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    print(
        f"loop / step  {statistics.median(ratios):.3f} (95%: {low:.3f} to {high:.3f}), "
        f"blocks {min(ratios):.3f} to {max(ratios):.3f}"
    )


if __name__ == "__main__":
    keep_memory()  # as `vismem train` does
    sys.exit(exit_code("loop.py", main))
