"""The expander: a trained text-to-text model with its tokenizer turns requests into full
descriptions."""

from collections.abc import Sequence

import jax
import numpy as np

from vismem.data.tokenizers import Tokenizer
from vismem.errors import UserError
from vismem.models.decoding import Decoding
from vismem.objectives.base import Params
from vismem.objectives.expand import Expand
from vismem.random import named_key

BATCH = 128  # Requests expanded at once: they come in any number, compiled programs in one size.
TEMPERATURE = 0.3  # at which models of one language and of both keep what is asked for in 97%


class Expander:
    """Expands requests.

    Args:
      objective: `expand`.
      tokenizer: of requests and descriptions.
      params: {player: tree}; may be given to `expand` instead.
    """

    def __init__(self, objective: Expand, tokenizer: Tokenizer, params: Params | None = None):
        if not isinstance(objective, Expand):
            name = type(objective).__name__.lower()
            raise UserError(f"objective.name={name!r}: expands nothing; objective.name=expand does")
        self.objective, self.tokenizer, self.params = objective, tokenizer, params
        self._expand = jax.jit(objective.generate, static_argnums=2)

    def expand(
        self,
        texts: Sequence[str],
        *,
        params: Params | None = None,
        seed: int = 0,
        temperature: float = TEMPERATURE,
    ) -> list[str]:
        """A description for every request; the same request again may be given another. Where the
        model has nothing to say it is the request.

        Args:
          params: instead of the expander's own.
          seed: the same seed and texts give the same descriptions.
          temperature: 0 gives the likeliest one. The higher, the more descriptions differ, and the
            more of them do not imply their request (experiments/RESULTS.md).

        Raises:
          UserError: no text, or an empty one.
        """
        if not len(texts):
            raise UserError("expand: there is no text; say what to draw")
        if any(not text.strip() for text in texts):
            raise UserError("expand: a text is empty; say what to draw")
        params = self.params if params is None else params
        how = Decoding(self.tokenizer.length, temperature=temperature)
        key = named_key(jax.random.key(seed), "expand")
        size, found = min(BATCH, len(texts)), []
        for start in range(0, len(texts), size):
            # The last chunk is filled up with its last text.
            rows = np.minimum(np.arange(start, start + size), len(texts) - 1)
            tokens = np.stack([self.tokenizer.encode(texts[row]) for row in rows])
            made = self._expand(params, tokens, how, jax.random.fold_in(key, start))
            descriptions = map(self.tokenizer.decode, np.asarray(made)[: len(texts) - start])
            found += [d if d.strip() else texts[start + i] for i, d in enumerate(descriptions)]
        return found
