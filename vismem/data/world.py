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
      near_misses: how many texts every record has beside its own that are just false of its
        picture, with one attribute, place, relation or count changed.
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
        near_misses: int = 0,
        examples: int = 1_000_000,
    ):
        for key, value, least in (("examples", examples, 1), ("near_misses", near_misses, 0)):
            if value < least:
                raise UserError(f"data.source.{key}={value}: must be at least {least}")
        self._world, self._split = worlds.world(preset), split
        self._size, self._near_misses, self._examples = size, near_misses, examples
        self._options = {"lang": lang, "style": style, "count": count}
        # What is wrong with the options shows here, not in a thread of the loader.
        self._example(0).image(size)

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: int) -> Example:
        example = self._example(index)
        record = {"image": example.image(self._size), "text": example.text, "index": index}
        if self._near_misses:
            missed = (example.near_miss(i).text for i in range(self._near_misses))
            record["near_misses"] = tuple(missed)
        return record

    def text(self, index: int) -> str:
        """The text of a record, without drawing its picture."""
        return self._example(index).text

    def _example(self, index: int) -> worlds.Example:
        return self._world.example(self._split, index, **self._options)
