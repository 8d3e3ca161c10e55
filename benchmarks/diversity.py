"""Alignment against diversity: what each way to draw a vague caption many times gains and costs.

    python benchmarks/diversity.py runs/quickstart [--captions 32] [--drawings 16]

For every method and strength, by the evaluator `diversity`: the share of drawings that obey their
caption, and how many different scenes those of one caption show. `ratio` is that number over plain
guidance's at equal accuracy, between the scales that were tried; where plain guidance is never as
accurate there is none, and where it is always more accurate it is given its most scenes. The bar is
1.3 for some strength of a method. Features are repelled on another encoder than distances are
measured on, which would be fooled. A figure goes to --out, a table to the terminal.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.progress import track

import vismem
from vismem import config as configs
from vismem.data import DataConfig
from vismem.drawing.artist import DrawConfig
from vismem.drawing.diversity import CADS, PLAIN, Repulsion, Slots
from vismem.drawing.diversity import Diversity as Method
from vismem.errors import exit_code
from vismem.evaluation.diversity import Diversity
from vismem.evaluation.encoder import Encoder
from vismem.parallel.mesh import MeshConfig, make_mesh

MEASURED = {"name": "cnn", "widths": (16, 32, 64)}
REPELLED = {"name": "cnn", "widths": (32, 64, 128)}
SCALES = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
STRENGTHS = {
    "CADS": (0.25, 0.5, 1.0, 1.5, 3.0),
    "slots": (1.0, 4.0, 16.0),
    "repulsion": (0.25, 0.5, 1.0, 2.0, 4.0),
    "repulsion on features": (0.1, 0.25, 0.5),
}
ON_ENCODER = ("distance", "recall", "coverage")
Point = tuple[float, float]  # accuracy, and distinct scenes


def ways(encoder: Encoder, config: DrawConfig) -> list[tuple[str, float, float, Method]]:
    """Name, strength, guidance scale and method of all that is tried, plain guidance first, whose
    strength is its scale; the others have the scale of the run."""
    methods = {
        "CADS": CADS(),
        "slots": Slots(),
        "repulsion": Repulsion(),
        "repulsion on features": Repulsion(features=encoder.features),
    }
    plain = [("plain", s, s, PLAIN) for s in SCALES]
    return plain + [
        (name, strength, config.guidance_scale, replace(methods[name], strength=strength))
        for name, strengths in STRENGTHS.items()
        for strength in strengths
    ]


def ratio(point: Point, plain: list[Point]) -> float:
    """Distinct scenes over those of plain guidance at equal accuracy; nan if it is never as
    accurate."""
    best, front = -np.inf, []
    for accuracy, distinct in sorted(plain, reverse=True):
        if distinct > best:
            front.append((accuracy, distinct))
            best = distinct
    accuracies, scenes = zip(*front[::-1])
    return point[1] / np.interp(point[0], accuracies, scenes, right=np.nan)


def figure(found: dict[str, list[Point]]) -> Figure:
    chart = Figure(figsize=(6, 4.5), layout="constrained")
    axes = chart.subplots()
    for name, points in found.items():
        axes.plot(*zip(*points), marker="o", label=name)
    axes.set_xlabel("drawings that obey their caption")
    axes.set_ylabel("distinct scenes among them, a caption")
    axes.legend(frameon=False)
    return chart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artist", type=Path, help="a run that draws")
    parser.add_argument("--captions", type=int, default=32)
    parser.add_argument("--drawings", type=int, default=16, help="of each caption")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", type=Path, help="folder of one; default a random one")
    parser.add_argument("--out", type=Path, default=Path("diversity.png"))
    options = parser.parse_args()
    artist = vismem.load(options.artist)
    data = DataConfig(**configs.read(options.artist).data.to_dict())
    choice = {"name": "pretrained", "folder": str(options.encoder)} if options.encoder else MEASURED
    mesh = make_mesh(MeshConfig())
    evaluator = Diversity(
        artist=artist,
        data=data,
        seed=options.seed,
        captions=options.captions,
        drawings=options.drawings,
        mesh=mesh,
        encoder=choice,
    )
    repelled = Encoder(REPELLED, data.size, mesh)
    columns = ("exact_claim", "distinct", *(f"{n}, {evaluator.encoder.label}" for n in ON_ENCODER))
    found: dict[str, list[Point]] = {}
    print("| method | strength | exact claim | distinct | distance | recall | coverage | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name, strength, scale, method in track(ways(repelled, artist.config)):
        drawing = artist.draw(
            evaluator.texts, seed=options.seed, guidance_scale=scale, diversity=method
        )
        numbers = evaluator.measure(drawing.images)
        row = [numbers.get(f"diversity/{column}", np.nan) for column in columns]
        found.setdefault(name, []).append((row[0], row[1]))
        row.append(ratio(found[name][-1], found["plain"]) if name != "plain" else 1.0)
        print(f"| {name} | {strength:g} |", *(f"{x:.3f} |" for x in row), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure(found).savefig(options.out, dpi=120)


if __name__ == "__main__":
    sys.exit(exit_code("diversity.py", main))
