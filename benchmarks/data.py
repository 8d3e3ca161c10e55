"""What the data loader costs: milliseconds of CPU a batch, and what they go into.

python benchmarks/data.py                                     the tiny world at 32 px
python benchmarks/data.py --folder ../shared/data/emoji       pictures of a folder
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence

from vismem.data import DataConfig, pipeline, source, tokenizers
from vismem.data.images import fit
from vismem.errors import exit_code


def cpu_ms(function: Callable[[int], object], count: int) -> float:
    """Milliseconds of this process's CPU for `count` calls; the best of five rounds."""
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for i in range(count):
            function(i)
        rounds.append(time.process_time() - start)
    return 1000 * min(rounds)


class Constant:
    """A source that costs nothing."""

    def __init__(self, example: dict):
        self.example = example

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> dict:
        return self.example


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="with metadata.jsonl or a folder a class")
    parser.add_argument("--size", type=int, default=32, help="of the pictures in pixels")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args(arguments)
    chosen = {"name": "world", "preset": "tiny", "style": "fixed"}
    if options.folder:
        chosen = {"name": "folder", "root": options.folder}
    config = DataConfig(source=chosen, size=options.size, threads=0)
    records = source(config, "train")
    tokenizer = tokenizers.make(config.tokenizer, records)
    count = options.batch
    examples = [records[i] for i in range(count)]
    fresh = itertools.count()  # texts that the tokenizer has not kept

    def batches(source) -> float:
        iterator = pipeline.batches(config, source, tokenizer, count, seed=0)
        return cpu_ms(lambda _: next(iterator), 20) / 20

    parts = {
        "read a record": cpu_ms(lambda i: records[i], count),
        "text of it": cpu_ms(records.text, count),
        "bring to size": cpu_ms(lambda i: fit(examples[i]["image"], config.size), count),
        "tokenise": cpu_ms(
            lambda i: tokenizer.encode(f"{examples[i]['text']} {next(fresh)}"), count
        ),
        "order, stack": batches(
            Constant(examples[0] | {"image": fit(examples[0]["image"], config.size)})
        ),
        "whole batch": batches(records),
    }
    for part, milliseconds in parts.items():
        print(f"{part:14}{milliseconds:8.2f} ms")


if __name__ == "__main__":
    sys.exit(exit_code("data.py", main))
