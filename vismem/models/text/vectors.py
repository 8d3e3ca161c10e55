"""Word vectors: one for each word whatever its neighbours, from a GloVe or word2vec file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.models.layers import Array, Embed, check_sizes


class WordVectors(nn.Module):
    """Token ids int32 [B, L] (0 is padding) -> features [B, L, width] and mask bool [B, L].

    Attributes:
      width: numbers of a vector, as the file has them.
      file: what a run's table starts from (Pennington et al. 2014; Mikolov et al. 2013). Words that
        are not in it start random, and so do all if there is none.
    """

    vocab_size: int
    width: int = 300
    file: str = ""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        check_sizes(self, "text", "width")
        embed = Embed(self.vocab_size, self.width, stddev=0.4, dtype=self.dtype, name="embed")
        return embed(tokens), tokens > 0


def read(file: str, width: int, words: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors that a text file of GloVe or word2vec holds of some words.

    Args:
      words: word -> id.

    Returns:
      ids int32 [n] of the words found, and their vectors float32 [n, width].

    Raises:
      UserError: the file is missing or damaged, has another width, holds none of the words, or of
        one of them a number that is not finite.
    """
    if not Path(file).is_file():
        raise UserError(f"text.file={file!r}: no such file")
    found = {}
    with open(file, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            word, _, rest = line.strip().partition(" ")
            values = rest.split()
            if number == 1:
                header = re.fullmatch(r"\d+ (\d+)\s*", line)  # word2vec's: words and width
                size = int(header[1]) if header else len(values)
                if size != width:
                    raise UserError(f"text.width={width}: {file} has {size} numbers a word")
                if header:
                    continue
            if word in words and len(values) <= width:  # more: GloVe has words with spaces
                try:
                    found[words[word]] = np.array(values, np.float32).reshape(width)
                except ValueError:
                    raise UserError(
                        f"{file}, line {number}: expected a word and {width} numbers"
                    ) from None
                if not np.isfinite(found[words[word]]).all():
                    raise UserError(
                        f"{file}, line {number}: {word!r} has a number that is not finite"
                    )
    if not found:
        raise UserError(
            f"text.file={file!r}: has none of the tokenizer's {len(words)} words; set "
            "data.tokenizer.name=words"
        )
    return np.array(list(found), np.int32), np.stack(list(found.values()))
