"""How long the training steps of an experiment's rows take, beside its first row's.

    taskset -c 0 python benchmarks/rows.py experiments/objectives.py [ROW ...] [--rounds 8]

All rows (by default those of the file's sweep) are compiled in one process and take their steps in
turns, a block each, so that what else the machine does falls on all. Seconds are of CPU time, which
on a busy machine says more than the clock; on one core, to which taskset holds it, it is the time
that the core worked. Parameters are as initialised: what a run would begin with changes no time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from vismem import config as configs
from vismem.config import RunConfig
from vismem.errors import UserError, exit_code
from vismem.parallel import hosts
from vismem.parallel.mesh import make_mesh
from vismem.planning import plan
from vismem.registry import nearest
from vismem.reports import sweeps
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step


def block(config: RunConfig, steps: int) -> Callable[[], float]:
    """Takes so many steps and returns the CPU seconds of one; pictures and texts are at random."""
    mesh = make_mesh(config.mesh)
    objective, shapes = plan.parts(config, mesh)
    rng = np.random.default_rng(0)
    batch = {name: rng.integers(0, 256, x.shape).astype(x.dtype) for name, x in shapes.items()}
    shapes = hosts.global_shapes(batch, config.batch_size)
    layout = Layout(objective, config.optimizer, shapes, mesh, steps=1000)
    made = make_train_step(objective, layout.optimizer, config.ema, config.optimizer.accumulate)
    step, batch = compiled(made, layout.shardings, mesh), hosts.put(batch, mesh)
    state = layout.init(config.seed, {})

    def take() -> float:
        nonlocal state
        begun = time.process_time()
        for _ in range(steps):
            state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))
        return (time.process_time() - begun) / steps

    take()  # compiled
    return take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="a config file with sweep()")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="of a block")
    options = parser.parse_args()
    planned = {made.row: made.config for made in sweeps.runs(options.file)}
    rows = options.rows or list(planned)
    for row in rows:
        if row not in planned:
            raise UserError(f"{row!r}: not a row of {options.file}; {nearest(row, planned)}")
    blocks = [block(configs.run_config(planned[row]), options.steps) for row in rows]
    taken = [[take() for take in blocks] for _ in range(options.rounds)]
    for row, seconds in zip(rows, zip(*taken)):
        ratios = [mine / first[0] for mine, first in zip(seconds, taken)]
        print(
            f"{row:16} {1e3 * statistics.median(seconds):6.1f} ms  {statistics.median(ratios):.2f} "
            f"of {rows[0]}'s, {min(ratios):.2f} to {max(ratios):.2f}"
        )


if __name__ == "__main__":
    sys.exit(exit_code("rows.py", main))
