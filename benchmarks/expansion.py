"""Accuracy on vague captions, drawn as they are, and from what an expander makes of them.

    python benchmarks/expansion.py runs/quickstart runs/expansion [--count 512]

The captions are the set "vague" of the evaluator `claims`, of the drawing run's world. A drawing is
right if the caption's own claim holds of it, whatever it was drawn from.
"""

import argparse
import sys
from pathlib import Path

import vismem
from vismem import config as configs
from vismem.data import DataConfig
from vismem.errors import exit_code
from vismem.evaluation.claims import Claims, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artist", type=Path, help="a run that draws")
    parser.add_argument("expander", type=Path, help="a run of experiments/expansion.py")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    artist, expander = vismem.load(options.artist), vismem.expander(options.expander)
    data = DataConfig(**configs.read(options.artist).data.to_dict())
    claims = Claims(artist=artist, data=data, seed=0, sets=("vague",), count=options.count)
    examples = claims.examples["vague"]
    requests = [example.text for example in examples]
    expansions = expander.expand(requests, seed=options.seed)
    for name, texts in (("as they are", requests), ("expanded", expansions)):
        numbers = score(examples, artist.draw(texts, seed=options.seed).images)
        print(f"{name:12} exact_claim {numbers['exact_claim']:.3f}")
    for request, expansion in list(zip(requests, expansions))[:8]:
        print(f"  {request} -> {expansion}")


if __name__ == "__main__":
    sys.exit(exit_code("expansion.py", main))
