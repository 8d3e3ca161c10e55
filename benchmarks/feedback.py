"""Whether a critic's feedback makes drawings obey, what that costs, and where the critic is fooled.

    python benchmarks/feedback.py runs/quickstart runs/towers [--set compositional] [--out feedback]

Every strategy of the feedback loop that the run can draw with, on the same held-out captions from
the same first drawings. After each round: the share of best drawings of which the caption's claim
holds, by the oracle, which steers nothing, with its 95% interval (Wilson's); against the passes
through both networks that a drawing has taken up to then. The threshold is a cosine that three
quarters of the true pictures of other captions of the set reach. The critic is fooled where it
passes a drawing in which the oracle finds a fault: by kinds of fault, of which a drawing may have
several.

Writes OUT.md, the table, and OUT.png, the figure.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

import vismem
from vismem import config as configs
from vismem import registry, worlds
from vismem.data import DataConfig
from vismem.drawing import STRATEGIES
from vismem.drawing.feedback import Best, improve
from vismem.errors import UserError, exit_code
from vismem.evaluation.claims import SETS
from vismem.evaluation.critic import Critic
from vismem.worlds import clauses, oracle
from vismem.worlds.claims import Claim
from vismem.worlds.corrections import faults

COUNTED = {"missing": "count", "extra": "count"}  # faults by the kind that they are shown under
KINDS = ("shape", "color", "place", "count", "other")


def tasks(data: DataConfig, name: str, rows: range) -> list[tuple[str, Claim, np.ndarray]]:
    """Texts of a set that ask for a picture from nothing, their claims, and true pictures."""
    split, style, things = SETS[name]
    source = data.source
    preset, lang = source.get("preset"), source.get("lang", "en")
    if source["name"] == "dialogue":
        dialogue = worlds.dialogue(preset or "tiny")
        talks = [dialogue.example(split, i, lang, dialogue.form.turns[1]) for i in rows]
        return [(talk.texts[0], talk.claims[0], talk.image(0, data.size)) for talk in talks]
    if source["name"] != "world":
        raise UserError(f"data.source.name={source['name']!r}: the oracle reads worlds only")
    world = worlds.world(preset or "default")
    examples = [world.example(split, i, lang, style, things[i % len(things)]) for i in rows]
    return [(example.text, example.claim, example.image(data.size)) for example in examples]


def wrong(claim: Claim, image: np.ndarray) -> set[str]:
    """The kinds of fault that the oracle finds in a drawing; empty if the claim holds."""
    scene = oracle.read(image)
    if claim.holds(scene):
        return set()
    kinds = {COUNTED.get(fault.what, fault.what) for fault in faults(claim, scene)}
    return {kind if kind in KINDS else "other" for kind in kinds} or {"other"}


def passing(critic: Critic, true: list[tuple[str, Claim, np.ndarray]]) -> float:
    """The cosine that three quarters of true pictures reach with their captions."""
    texts, _, pictures = zip(*true)
    return float(np.quantile(critic.score(pictures, list(map(clauses.caption, texts))), 0.25))


def measure(rounds: Sequence[Best], claims: Sequence[Claim], threshold: float) -> list[dict]:
    """A row a round."""
    rows = []
    for number, best in enumerate(rounds, 1):
        found = [wrong(claim, image) for claim, image in zip(claims, best.images)]
        right = sum(not kinds for kinds in found)
        interval = binomtest(right, len(found)).proportion_ci(method="wilson")
        passed = best.scores >= threshold
        fooled = [kinds for kinds, through in zip(found, passed) if through and kinds]
        by_kind = Counter(kind for kinds in fooled for kind in kinds)
        rows.append(
            {
                "round": number,
                "generator": float(best.evaluations.mean()),
                "critic": float(best.judgements.mean()),
                "exact_claim": right / len(found),
                "low": interval.low,
                "high": interval.high,
                "score": float(best.scores.mean()),
                "passed": float(passed.mean()),
                "fooled": len(fooled) / max(1, passed.sum()),
                **{kind: by_kind[kind] for kind in KINDS},
            }
        )
    return rows


def markdown(results: dict[str, list[dict]], threshold: float, count: int) -> str:
    """The table."""
    columns = ("strategy", "round", "generator passes", "critic passes", "exact claim", "95%")
    columns += ("score", "passed", "fooled", *KINDS)
    lines = [
        f"{count} captions; the critic passes a cosine of {threshold:.3f}. fooled: the share of "
        f"those passed that the oracle rejects; by kind of fault their number.",
        "",
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
    ]
    for name, rows in results.items():
        for row in rows:
            cells = [name, row["round"], f"{row['generator']:.1f}", f"{row['critic']:.1f}"]
            cells += [f"{row['exact_claim']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"]
            cells += [f"{row[column]:.3f}" for column in ("score", "passed", "fooled")]
            lines.append(f"| {' | '.join(map(str, [*cells, *(row[k] for k in KINDS)]))} |")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, list[dict]]) -> Figure:
    """Exact claims against passes through both networks; and how often the critic is fooled."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    cost, fooled = figure.subplots(1, 2)
    for i, (name, rows) in enumerate(results.items()):
        passes = [row["generator"] + row["critic"] for row in rows]
        shares = np.array([row["exact_claim"] for row in rows])
        ends = [shares - [r["low"] for r in rows], [r["high"] for r in rows] - shares]
        cost.errorbar(passes, shares, ends, marker="o", linewidth=1.2, capsize=2, label=name)
        left = np.arange(len(KINDS)) + (i - (len(results) - 1) / 2) * 0.8 / len(results)
        fooled.bar(left, [rows[-1][kind] for kind in KINDS], 0.8 / len(results), label=name)
    cost.set(xlabel="network evaluations a drawing", ylabel="exact claim (oracle)", ylim=(0, 1))
    fooled.set(ylabel="passed by the critic, wrong to the oracle", title="after the last round")
    fooled.set_xticks(range(len(KINDS)), KINDS)
    for axes in (cost, fooled):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def arguments(doc: str, **defaults: object) -> argparse.ArgumentParser:
    """What a benchmark of drawings and a critic is told; `defaults` of `set`, `count` and `out`."""
    parser = argparse.ArgumentParser(
        description=doc.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("artist", type=Path, help="a run that draws")
    parser.add_argument("critic", type=Path, help="a run with two towers")
    parser.add_argument("--set", choices=SETS, help="of captions")
    parser.add_argument("--count", type=int, help="captions")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--out", type=Path, help="the table and the figure, without their endings")
    parser.set_defaults(**defaults)
    return parser


def save(out: Path, table: str, figure: Figure) -> None:
    """Prints the table, and writes OUT.md and OUT.png."""
    print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text(table)
    figure.savefig(out.with_suffix(".png"), dpi=120)


def compare(options: argparse.Namespace) -> tuple[dict[str, list[dict]], float]:
    """Numbers of every strategy, round by round, and the critic's threshold."""
    artist, critic = vismem.load(options.artist), vismem.critic(options.critic)
    data = DataConfig(**configs.read(options.artist).data.to_dict())
    count, threshold = options.count, options.threshold
    texts, claims, _ = zip(*tasks(data, options.set, range(count)))
    if threshold is None:
        threshold = passing(critic, tasks(data, options.set, range(count, 2 * count)))
    limits = {"rounds": options.rounds, "threshold": threshold, "seed": options.seed}
    results = {}
    for name in STRATEGIES:
        strategy = registry.resolve(STRATEGIES, name, "strategy")()
        try:
            rounds = improve(artist, critic, texts, strategy, **limits)
        except UserError as error:
            print(f"{name} left out: {error}")
            continue
        results[name] = measure(rounds, claims, threshold)
    return results, threshold


def main() -> None:
    parser = arguments(__doc__, set="test", count=256, out=Path("feedback"))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threshold", type=float, help="a cosine; if none, as above")
    options = parser.parse_args()
    results, threshold = compare(options)
    save(options.out, markdown(results, threshold, options.count), plot(results))


if __name__ == "__main__":
    sys.exit(exit_code("feedback.py", main))
