"""Whether captions are true of their pictures: computed by the world, not judged."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
    """Captions of held-out pictures, against the scenes and against the world's own captions.

    For every split: `holds`, the share of captions that the world's grammar reads and that are true
    of the scene; `bleu` (sacrebleu's, 0 to 100) and `cider` (pycocoevalcap's, 0 to 10), each with
    one reference a picture.

    Args:
      objective, tokenizer: the run's.
      data: the run's data, whose source must be a world.
      splits: of the world. count: pictures a split. beams: see models/decoding.py.
    """

    def __init__(
        self,
        *,
        objective: Caption,
        tokenizer: Tokenizer,
        data: DataConfig,
        splits: tuple[str, ...] = ("test", "compositional"),
        count: int = 512,
        beams: int = 1,
    ):
        if data.source.get("name") != "world":
            found = data.source.get("name")
            raise UserError(f"evaluators: captions reads worlds only; data.source.name={found!r}")
        given = {k: v for k, v in data.source.items() if k in ("lang", "style", "count")}
        self.world = worlds.world(data.source.get("preset", "default"))
        self.examples = {
            split: [self.world.example(split, i, **given) for i in range(count)] for split in splits
        }
        self.reader = Reader(objective, tokenizer)
        # A library that is missing, and a mistake in beams, show before the training.
        similarity(["a"], ["a"])
        Decoding(1, beams)
        self.size, self.beams = data.size, beams

    def run(self, state: Mapping[str, Any]) -> dict[str, float]:
        """Numbers by name, "test/holds" and so on."""
        results = {}
        for split, examples in self.examples.items():
            images = [example.image(self.size) for example in examples]
            texts = self.reader.read(images, params=state["ema"], beams=self.beams)
            results |= {f"{split}/{k}": v for k, v in score(self.world, examples, texts).items()}
        return results


def score(world: World, examples: Sequence[Example], texts: Sequence[str]) -> dict[str, float]:
    """`holds`, `bleu` and `cider` of a caption for each example."""
    true = [holds(world, text, example) for text, example in zip(texts, examples)]
    return {
        "holds": sum(true) / len(true),
        **similarity([example.text for example in examples], texts),
    }


def holds(world: World, text: str, example: Example) -> bool:
    """Whether a text is a caption in one of the world's languages, and true of the scene."""
    for lang in LANGUAGES:
        try:
            return world.parse(text, lang).holds(example.scene)
        except UserError:  # the language cannot read it
            continue
    return False


def similarity(references: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """`bleu` and `cider` of texts against one reference each; words are Chinese characters, and
    what spaces part."""
    try:
        from pycocoevalcap.cider.cider import Cider
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise UserError(
            "evaluators: captions needs sacrebleu and pycocoevalcap; pip install 'vismem[captions]'"
        ) from None
    tokenize = "zh" if any(map(CHINESE.search, references)) else "13a"
    bleu = BLEU(tokenize=tokenize).corpus_score(texts, [references])

    def apart(side: Sequence[str]) -> dict[int, list[str]]:
        return {i: [CHINESE.sub(r" \g<0> ", text.lower())] for i, text in enumerate(side)}

    cider, _ = Cider().compute_score(apart(references), apart(texts))
    return {"bleu": bleu.score, "cider": float(cider)}
