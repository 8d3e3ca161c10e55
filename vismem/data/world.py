"""Examples drawn from the embedded world as they are asked for."""

from vismem import worlds
from vismem.data import Example
from vismem.errors import UserError


class WorldSource:
    """Pictures and captions of a world's split.

    Args:
      split: "train", "val", "test", "compositional" or "length".
      size: width and height of the pictures in pixels.
      preset: which world, "default" or "tiny".
      lang: "en", "zh" or "mixed".
      style: "fixed" texts settle a place or relation of every thing, "vague" ones leave something
        open, "any" is a mixture.
      count: things in every scene; as the split has them if None.
      examples: how many examples an epoch has.
    """

    def __init__(
        self,
        split: str,
        size: int,
        preset: str = "default",
        lang: str = "en",
        style: str = "any",
        count: int | None = None,
        examples: int = 1_000_000,
    ):
        if examples < 1:
            raise UserError(f"data.source.examples={examples}: must be at least 1")
        self._world, self._split = worlds.world(preset), split
        self._size, self._examples = size, examples
        self._options = {"lang": lang, "style": style, "count": count}
        self.text(0)  # what is wrong with the options shows here, not in a thread of the loader

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: int) -> Example:
        example = self._example(index)
        return {"image": example.image(self._size), "text": example.text, "index": index}

    def text(self, index: int) -> str:
        """The text of a record, without drawing its picture."""
        return self._example(index).text

    def _example(self, index: int) -> worlds.Example:
        return self._world.example(self._split, index, **self._options)
