"""Conversations of the embedded world, drawn as they are asked for."""

import numpy as np

from vismem import worlds
from vismem.data import Example
from vismem.errors import UserError


class DialogueSource:
    """Pictures and instructions of the turns of a dialogue's split.

    A record has the keys of conversations in data/__init__.py, and `needs_memory`, bool [T].

    Args:
      split: "train", "val", "test" or "compositional".
      size: width and height of the pictures in pixels.
      preset: which dialogue, "tiny" or "iclevr".
      lang: "en", "zh" or "mixed".
      turns: of every conversation; as many as the preset has if None.
      examples: how many conversations an epoch has.
    """

    def __init__(
        self,
        split: str,
        size: int,
        preset: str = "tiny",
        lang: str = "en",
        turns: int | None = None,
        examples: int = 1_000_000,
    ):
        if examples < 1:
            raise UserError(f"data.source.examples={examples}: must be at least 1")
        self._dialogue, self._split = worlds.dialogue(preset), split
        self._size, self._examples = size, examples
        self._options = {"lang": lang, "turns": turns}
        self._longest = turns or self._dialogue.form.turns[1]
        self.text(0)  # what is wrong with the options shows here, not in a thread of the loader

    def __len__(self) -> int:
        return self._examples

    def __getitem__(self, index: int) -> Example:
        talk = self._conversation(index)
        images = np.stack([talk.image(turn, self._size) for turn in range(len(talk.turns))])
        record = {"image": images, "needs_memory": np.array(talk.needs_memory)}
        return padded(record, talk.texts, self._longest) | {"index": index}

    def text(self, index: int) -> str:
        """The texts of a record, a line each, without drawing its pictures."""
        return "\n".join(self._conversation(index).texts)

    def _conversation(self, index: int) -> worlds.Conversation:
        return self._dialogue.example(self._split, index, **self._options)


def padded(arrays: dict[str, np.ndarray], texts: tuple[str, ...], turns: int) -> Example:
    """A record of a conversation, filled up with empty turns.

    Args:
      arrays: name -> [T, ...], T the turns that there are.
      texts: T instructions.
      turns: that the record is to have.

    Returns:
      The arrays as [turns, ...], zeros in the empty turns; `texts`; and `mask`, bool [turns].
    """
    missing = turns - len(texts)
    record = {
        name: np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])
        for name, array in arrays.items()
    }
    mask = np.arange(turns) < len(texts)
    return {**record, "texts": (*texts, *[""] * missing), "mask": mask}
