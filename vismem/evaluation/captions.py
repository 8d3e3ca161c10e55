"""Whether captions are true of their pictures, which a world computes; and how like they are to
those that the pictures have."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vismem import data as examples
from vismem import worlds
from vismem.data import DataConfig
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.evaluation.reader import Reader
from vismem.models.decoding import Decoding
from vismem.objectives.caption import Caption
from vismem.worlds import Example, World
from vismem.worlds.world import LANGUAGES

CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")  # a character, or a sign


class Captions:
    """Captions of held-out pictures.

    For every split: `bleu` (sacrebleu's, 0 to 100) and `cider` (pycocoevalcap's, 0 to 10), with all
    captions that a picture has for references; and of a world's `holds`, the share of captions that
    its grammar reads and that are true of the scene.

    Args:
      objective, tokenizer: the run's. data: the run's.
      splits: of the source; "test", and of a world "compositional" too, if None.
      count: pictures a split. beams: see models/decoding.py.
    """

    def __init__(
        self,
        *,
        objective: Caption,
        tokenizer: Tokenizer,
        data: DataConfig,
        splits: tuple[str, ...] | None = None,
        count: int = 512,
        beams: int = 1,
    ):
        self.reader = Reader(objective, tokenizer)
        # A library that is missing, and a mistake in beams, show before the training.
        similarity([("a",)], ["a"])
        Decoding(1, beams)
        self.beams, self.world, self.scenes = beams, None, {}
        if data.source["name"] == "world":
            self.world = worlds.world(data.source.get("preset", "default"))
            given = {k: v for k, v in data.source.items() if k in ("lang", "style", "count")}
            for split in splits or ("test", "compositional"):
                self.scenes[split] = [self.world.example(split, i, **given) for i in range(count)]
            self.records = {
                split: [{"image": e.image(data.size), "text": e.text} for e in scenes]
                for split, scenes in self.scenes.items()
            }
        else:
            self.records = {
                split: examples.some(data, split, count, spread=True)
                for split in splits or ("test",)
            }
        if any("prompt" in record for records in self.records.values() for record in records):
            raise UserError(
                f"evaluators: captions: data.source.name={data.source['name']!r} asks questions; "
                "take answers"
            )

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Numbers by name, "test/holds" and so on."""
        results = {}
        for split, records in self.records.items():
            images = [record["image"] for record in records]
            texts = self.reader.read(images, params=state["ema"], beams=self.beams)
            references = [record.get("captions", (record["text"],)) for record in records]
            numbers = similarity(references, texts)
            if self.world:
                true = [holds(self.world, *pair) for pair in zip(texts, self.scenes[split])]
                numbers["holds"] = sum(true) / len(true)
            results |= {f"{split}/{name}": number for name, number in numbers.items()}
        return results


def holds(world: World, text: str, example: Example) -> bool:
    """Whether a text is a caption in one of the world's languages, and true of the scene."""
    for lang in LANGUAGES:
        try:
            return world.parse(text, lang).holds(example.scene)
        except UserError:  # the language cannot read it
            continue
    return False


def similarity(references: Sequence[Sequence[str]], texts: Sequence[str]) -> dict[str, float]:
    """`bleu` and `cider` of texts against one reference or more each; words are Chinese characters,
    and what spaces part."""
    try:
        from pycocoevalcap.cider.cider import Cider
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise UserError(
            "evaluators: captions needs sacrebleu and pycocoevalcap; pip install 'vismem[captions]'"
        ) from None
    tokenize = "zh" if any(map(CHINESE.search, itertools.chain(*references))) else "13a"
    # By the place in a text's references; sacrebleu passes over the None of those with fewer.
    streams = list(itertools.zip_longest(*references))
    bleu = BLEU(tokenize=tokenize).corpus_score(texts, streams)

    def apart(sides: Sequence[Sequence[str]]) -> dict[int, list[str]]:
        spaced = ([CHINESE.sub(r" \g<0> ", text.lower()) for text in side] for side in sides)
        return dict(enumerate(spaced))

    cider, _ = Cider().compute_score(apart(references), apart([(text,) for text in texts]))
    return {"bleu": bleu.score, "cider": float(cider)}
