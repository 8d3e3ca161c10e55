"""Questions about scenes of the embedded world, with their answers, made as they are asked for."""

from random import Random

from vismem import worlds
from vismem.data import Example
from vismem.errors import UserError
from vismem.worlds.questions import SORTS, Question


class QuestionSource:
    """A question about each of a split's scenes, of a sort chosen by chance among those it allows.

    A record has `prompt`, the question, `text`, its answer, and `about`, its sort.

    Args:
      split: "train", "val", "test", "compositional" or "length".
      size: width and height of the pictures in pixels.
      preset: which world, "default" or "tiny".
      lang: "en", "zh" or "mixed".
      count: things in every scene; as the split has them if None.
      examples: how many examples an epoch has.
    """

    def __init__(
        self,
        split: str,
        size: int,
        preset: str = "default",
        lang: str = "en",
        count: int | None = None,
        examples: int = 1_000_000,
    ):
        if examples < 1:
            raise UserError(f"data.source.examples={examples}: must be at least 1")
        self._world, self._split = worlds.world(preset), split
        self._size, self._examples = size, examples
        self._options = {"lang": lang, "count": count}
        self.text(0)  # what is wrong with the options shows here, not in a thread of the loader

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: int) -> Example:
        example, question = self._asked(index)
        return {
            "image": example.image(self._size),
            "prompt": question.text,
            "text": question.answer,
            "about": question.about,
            "index": index,
        }

    def text(self, index: int) -> str:
        """Question and answer, a line each, without drawing the picture."""
        _, question = self._asked(index)
        return f"{question.text}\n{question.answer}"

    def _asked(self, index: int) -> tuple[worlds.Example, Question]:
        example = self._world.example(self._split, index, **self._options)
        asked = {question.about: question for question in example.questions()}
        # Not among those asked: what few scenes allow is asked as often as can be.
        order = Random(index).sample(SORTS, len(SORTS))
        return example, next(asked[sort] for sort in order if sort in asked)
