"""The reader: a trained captioner with its tokenizer and parameters puts pictures into words."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vismem.data.images import fit
from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.models.decoding import Decoding
from vismem.objectives.base import Params
from vismem.objectives.caption import Caption
from vismem.random import named_key

BATCH = 128  # Pictures read at once: they come in any number, compiled programs in one size.


class Reader:
    """Says what pictures show, or answers what is asked about them.

    Args:
      objective: one that reads pictures.
      tokenizer: of prompts and texts.
      params: {player: tree}; may be given to `read` instead.
    """

    def __init__(self, objective: Caption, tokenizer: Tokenizer, params: Params | None = None):
        if not hasattr(objective, "answers"):
            name = type(objective).__name__.lower()
            raise UserError(f"objective.name={name!r}: reads no pictures; 'caption' does")
        self.objective, self.tokenizer, self.params = objective, tokenizer, params
        self._compiled: dict[Decoding, Any] = {}

    def read(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[str] | None = None,
        *,
        params: Params | None = None,
        seed: int = 0,
        **decoding: Any,
    ) -> list[str]:
        """A text for every picture.

        Args:
          images: uint8 [H, W, 3] each; of others than square ones the middle is read.
          prompts: what is asked, one a picture, if the run has learned to answer.
          params: instead of the reader's own.
          seed: of random texts.
          **decoding: fields of `models.decoding.Decoding`; greedy by default.

        Raises:
          UserError: no pictures, an empty prompt, not a prompt for each picture; prompts to a run
            that has none, or none to one that has.
        """
        if not len(images):
            raise UserError("read: there is no picture")
        params = self.params if params is None else params
        if prompts is None and self.objective.answers(params):
            raise UserError("read: the run has learned to answer questions; ask it one")
        if prompts is not None and not self.objective.answers(params):
            raise UserError("read: the run has learned captions and answers no questions")
        if prompts is not None and len(prompts) != len(images):
            raise UserError(f"read: {len(images)} pictures, but {len(prompts)} questions")
        if prompts is not None and not all(prompt.strip() for prompt in prompts):
            raise UserError("read: a question is empty")
        length = self.objective.length or self.tokenizer.length
        program = self._program(Decoding(**{"length": length, **decoding}))
        key = named_key(jax.random.key(seed), "read")
        texts: list[str] = []
        size = min(BATCH, len(images))
        for start in range(0, len(images), size):
            # The last chunk is filled up with its last picture.
            rows = np.minimum(np.arange(start, start + size), len(images) - 1)
            pictures = np.stack([fit(images[row], self.objective.image_size) for row in rows])
            tokens = None
            if prompts is not None:
                tokens = np.stack([self.tokenizer.encode(prompts[row]) for row in rows])
            found = program(params, pictures, tokens, jax.random.fold_in(key, start))
            texts += map(self.tokenizer.decode, np.asarray(found)[: len(images) - start])
        return texts

    def _program(self, decoding: Decoding) -> Any:
        """The compiled reading, one for each way to decode."""
        if decoding not in self._compiled:
            self._compiled[decoding] = jax.jit(
                lambda params, image, prompt, key: self.objective.generate(
                    params, image, prompt, decoding, key
                )
            )
        return self._compiled[decoding]
