"""What a step of training saves when a frozen encoder's features come from the disk.

    python benchmarks/feature_cache.py text [--rounds 10]
    python benchmarks/feature_cache.py image [--rounds 10]

Steps of "MiniLM, frozen" of experiments/text_encoders.py, or of "Lu" of experiments/lit.py, whose
docstring says where the tower comes from, with and without the cache, in turns in one process on
the same batches, so that what else the machine does falls on both. CPU seconds, over all threads,
are less touched by that than the clock's.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax

from vismem import config as configs
from vismem.data import pipeline, source
from vismem.errors import exit_code
from vismem.parallel import hosts
from vismem.parallel.mesh import make_mesh
from vismem.reports import sweeps
from vismem.training import encoders, image_cache, run, text_cache
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

# Experiment, row, and what makes the cache.
PARTS = {
    "text": ("experiments/text_encoders.py", "MiniLM, frozen", text_cache.make),
    "image": ("experiments/lit.py:emoji", "Lu", image_cache.make),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int, help="default as the experiment has it")
    options = parser.parse_args()
    experiment, row, make_cache = PARTS[options.part]
    planned = next(r for r in sweeps.runs(experiment) if r.row == row)
    config = configs.run_config(planned.config)
    config = dataclasses.replace(config, batch_size=options.batch_size or config.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        cache = {f"cache_{options.part}": f"{folder}/cache"}
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, **cache))
        measure(config, make_cache, Path(folder), options.rounds)


def measure(config: configs.RunConfig, make_cache, folder: Path, rounds: int) -> None:
    mesh = make_mesh(config.mesh)
    examples = source(config.data, "train")
    tokenizer = run.make_tokenizer(config, folder, examples)
    config = encoders.resolve(config, tokenizer, folder)
    objective = run.make_objective(config, tokenizer, mesh)
    batches = pipeline.batches(config.data, examples, tokenizer, config.batch_size, config.seed)
    given = [next(batches) for _ in range(rounds)]
    batches.close()
    shapes = hosts.global_shapes(given[0], config.batch_size)
    layout = Layout(objective, config.optimizer, shapes, mesh, steps=1000)
    state = layout.init(config.seed, encoders.parameters(config, tokenizer, layout, mesh))
    step = compiled(
        make_train_step(objective, layout.optimizer, config.ema), layout.shardings, mesh
    )
    from_disk = make_cache(config, objective, layout.optimizer, state)
    ways = {"encoder": lambda batch: batch, "cache": from_disk}
    spent = {way: [] for way in ways}
    for batch in [given[0], *given]:  # the first round compiles
        from_disk(batch)  # fills the cache
        for way, with_features in ways.items():
            clock, cpu = time.perf_counter(), time.process_time()
            state, metrics = step(state, hosts.put(with_features(batch), mesh))
            jax.block_until_ready(metrics)
            spent[way].append((time.perf_counter() - clock, time.process_time() - cpu))
    for way, times in spent.items():
        clock, cpu = (statistics.median(column) for column in zip(*times[1:]))
        print(f"{way:8} {1e3 * clock:7.1f} ms a step, {1e3 * cpu:7.1f} ms of CPU time")
    ratios = [a / b for (_, a), (_, b) in zip(spent["encoder"][1:], spent["cache"][1:])]
    print(f"encoder / cache, CPU time: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    sys.exit(exit_code("feature_cache.py", main))
