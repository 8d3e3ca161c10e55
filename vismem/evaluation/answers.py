"""How many answers are right, to the letter."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from vismem import data as examples
from vismem.data import DataConfig, Example
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.evaluation.reader import Reader
from vismem.objectives.caption import Caption


class Answers:
    """Answers held-out questions.

    Args:
      objective, tokenizer: the run's.
      data: the run's data, whose source must give prompts.
      splits: of the source.
      count: questions a split at most, and training questions that the majority is taken of.
    """

    def __init__(
        self,
        *,
        objective: Caption,
        tokenizer: Tokenizer,
        data: DataConfig,
        splits: tuple[str, ...] = ("test",),
        count: int = 2_000,
    ):
        self.records = {}
        for split in ("train", *splits):
            self.records[split] = examples.some(data, split, count, spread=True)
        train = self.records.pop("train")
        if "prompt" not in train[0]:
            raise UserError(
                f"evaluators: answers needs questions; data.source.name={data.source['name']!r} "
                "has none"
            )
        self.usual = usual_answers(train)
        self.reader = Reader(objective, tokenizer)

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Shares of right answers: `test/answers`, `test/answers/count` and so on for each sort of
        question, and the same of `majority`, which knows the sort and says what is most often right
        in training."""
        results = {}
        for split, records in self.records.items():
            images = [record["image"] for record in records]
            prompts = [record["prompt"] for record in records]
            said = self.reader.read(images, prompts, params=state["ema"])
            usual = [self.usual[record.get("about")] for record in records]
            for name, answers in (("answers", said), ("majority", usual)):
                found = right(records, answers)
                results |= {f"{split}/{name}{sort}": share for sort, share in found.items()}
        return results


def usual_answers(records: Sequence[Example]) -> dict[str | None, str]:
    """For every sort of question (None where records have none) its most frequent answer; for one
    that is not among them, that of all."""
    counts = defaultdict(Counter)
    for record in records:
        counts[record.get("about")][record["text"]] += 1
    [(usual, _)] = sum(counts.values(), Counter()).most_common(1)
    each = {about: answers.most_common(1)[0][0] for about, answers in counts.items()}
    return defaultdict(lambda: usual, each)


def right(records: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
    """Shares of right answers: "" of all, "/count" of the questions about that, and so on."""
    found = defaultdict(list)
    for record, answer in zip(records, answers):
        for sort in {"", f"/{record['about']}" if "about" in record else ""}:
            found[sort].append(answer == record["text"])
    return {sort: sum(these) / len(these) for sort, these in sorted(found.items())}
