"""Whether a critic ranks drawings as the oracle does: over a run's checkpoints, and within each.

    python benchmarks/critic.py runs/quickstart runs/towers [--set test] [--out critic]

Every checkpoint that the run keeps draws the same held-out captions from the same noise. The critic
scores each drawing against its caption; the oracle says whether the caption's claim holds. The
threshold is that of benchmarks/feedback.py. Over so few checkpoints both may rise by chance; how
well the critic tells right drawings from wrong ones of one checkpoint is the area under the ROC
curve: 0.5 is chance, 1 never wrong.

The run must keep three checkpoints or more: train it with --config.checkpoint.keep=8, say. Writes
OUT.md, the table, and OUT.png, the figure.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from feedback import arguments, passing, save, tasks
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

import vismem
from vismem import config as configs
from vismem.errors import UserError, exit_code
from vismem.evaluation.agreement import agreement, rank_correlation, varies
from vismem.training.checkpoint import Checkpoints
from vismem.worlds import clauses, oracle

LEAST = 3  # checkpoints: two are in order or in reverse, whatever the critic knows


def judge(options: argparse.Namespace) -> tuple[list[int], np.ndarray, np.ndarray, float]:
    """Steps of C checkpoints; of N drawings each the critic's cosines, float32 [C, N], and whether
    they are right, bool [C, N]; and the critic's threshold."""
    config = configs.run_config(configs.read(options.artist))
    with Checkpoints(options.artist, config.checkpoint, read_only=True) as checkpoints:
        steps = checkpoints.steps()
    if len(steps) < LEAST:
        raise UserError(
            f"{options.artist}: keeps {len(steps)} checkpoints, and a ranking takes {LEAST}; "
            "train it with a greater --config.checkpoint.keep"
        )
    artist, critic = vismem.load(options.artist), vismem.critic(options.critic)
    count = options.count
    texts, claims, _ = zip(*tasks(config.data, options.set, range(count)))
    threshold = passing(critic, tasks(config.data, options.set, range(count, 2 * count)))
    captions = list(map(clauses.caption, texts))
    cosines, right = [], []
    for step in steps:
        params = vismem.load(options.artist, step).params
        images = artist.draw(texts, seed=options.seed, params=params).images
        cosines.append(critic.score(images, captions))
        right.append([claim.holds(oracle.read(image)) for claim, image in zip(claims, images)])
    return steps, np.array(cosines), np.array(right), threshold


def markdown(steps: Sequence[int], cosines: np.ndarray, right: np.ndarray, threshold: float) -> str:
    """The table, and the rank correlations under it."""
    lines = [
        f"{right.shape[1]} captions; the critic passes a cosine of {threshold:.3f}.",
        "",
        "| steps | exact claim | 95% | cosine | passed | area under ROC |",
        "|---|---|---|---|---|---|",
    ]
    rows = [agreement(*both, threshold) for both in zip(cosines, right)]
    for step, row in zip(steps, rows):
        constant = "undefined: all " + ("right" if row["exact_claim"] else "wrong")
        area = constant if row["auc"] is None else f"{row['auc']:.3f}"
        lines.append(
            f"| {step} | {row['exact_claim']:.3f} | {row['low']:.3f} to {row['high']:.3f} "
            f"| {row['score']:.3f} | {row['passed']:.3f} | {area} |"
        )
    means = rank_correlation(cosines.mean(1), right.mean(1))
    single = rank_correlation(cosines.ravel(), right.ravel())
    lines += [
        "",
        "Spearman's rank correlation of cosine and exact claim:",
        f"- means of checkpoints: {correlation(means)}, n = {len(steps)} checkpoints",
        f"- single drawings of all checkpoints: {correlation(single)}, n = {right.size} drawings",
    ]
    return "\n".join(lines) + "\n"


def correlation(value: float | None) -> str:
    return "undefined, one of the two is constant" if value is None else f"{value:.3f}"


def plot(steps: Sequence[int], cosines: np.ndarray, right: np.ndarray) -> Figure:
    """Mean cosine and accuracy against steps; and a ROC curve a checkpoint."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    means, curves = figure.subplots(1, 2)
    means.plot(steps, right.mean(1), marker="o", label="exact claim (oracle)")
    means.plot(steps, cosines.mean(1), marker="o", label="mean cosine (critic)")
    means.set(xlabel="steps", ylim=(min(0, cosines.mean(1).min()), 1.02))
    for step, scores, hits in zip(steps, cosines, right):
        if varies(hits):
            curves.plot(*roc_curve(hits, scores)[:2], label=f"{step} steps")
    curves.plot([0, 1], [0, 1], color="gray", linestyle=":", label="chance")
    curves.set(xlabel="wrong drawings passed", ylabel="right drawings passed")
    for axes in (means, curves):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def main() -> None:
    options = arguments(__doc__, set="val", count=128, out=Path("critic")).parse_args()
    steps, cosines, right, threshold = judge(options)
    table = markdown(steps, cosines, right, threshold)
    save(options.out, table, plot(steps, cosines, right))


if __name__ == "__main__":
    sys.exit(exit_code("critic.py", main))
