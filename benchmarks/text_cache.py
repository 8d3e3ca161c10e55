"""What a step of training saves when a frozen text encoder's features come from the disk.

    python benchmarks/text_cache.py [--row "MiniLM, frozen"] [--rounds 10]

Steps of a row of experiments/text_encoders.py, with and without `data.cache_text`, in turns in one
process on the same batches, so that what else the machine does falls on both. CPU seconds, over all
threads, are less touched by that than the clock's.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import jax

from vismem import config as configs
from vismem.data import pipeline, source
from vismem.parallel import hosts
from vismem.parallel.mesh import make_mesh
from vismem.reports import sweeps
from vismem.training import encoders, run, text_cache
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

EXPERIMENT = "experiments/text_encoders.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", default="MiniLM, frozen")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    planned = next(r for r in sweeps.runs(EXPERIMENT) if r.row == options.row)
    with tempfile.TemporaryDirectory() as folder:
        measure(configs.run_config(planned.config), Path(folder), options.rounds)


def measure(config: configs.RunConfig, folder: Path, rounds: int) -> None:
    data = dataclasses.replace(config.data, cache_text=str(folder / "cache"))
    config, mesh = dataclasses.replace(config, data=data), make_mesh(config.mesh)
    examples = source(config.data, "train")
    tokenizer = run.make_tokenizer(config, folder, examples)
    config = encoders.resolve(config, tokenizer, folder)
    objective = run.make_objective(config, tokenizer)
    batches = pipeline.batches(config.data, examples, tokenizer, config.batch_size, config.seed)
    given = [next(batches) for _ in range(rounds)]
    batches.close()
    layout = Layout(objective, config.optimizer, hosts.global_shapes(given[0]), mesh, steps=1000)
    state = layout.init(config.seed, encoders.parameters(config, tokenizer, layout, mesh))
    step = compiled(
        make_train_step(objective, layout.optimizer, config.ema), layout.shardings, mesh
    )
    from_disk = text_cache.make(config, objective, layout.optimizer, state)
    ways = {"encoder": lambda batch: batch, "cache": from_disk}
    spent = {way: [] for way in ways}
    for batch in [given[0], *given]:  # the first round compiles
        from_disk(batch)  # fills the cache
        for way, with_text in ways.items():
            clock, cpu = time.perf_counter(), time.process_time()
            state, metrics = step(state, hosts.put(with_text(batch), mesh))
            jax.block_until_ready(metrics)
            spent[way].append((time.perf_counter() - clock, time.process_time() - cpu))
    for way, times in spent.items():
        clock, cpu = (statistics.median(column) for column in zip(*times[1:]))
        print(f"{way:8} {1e3 * clock:7.1f} ms a step, {1e3 * cpu:7.1f} ms of CPU time")
    ratios = [a / b for (_, a), (_, b) in zip(spent["encoder"][1:], spent["cache"][1:])]
    print(f"encoder / cache, CPU time: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
