"""What encoders of pictures and of text give."""

from typing import NamedTuple

from vismem.models.layers import Array


class Features(NamedTuple):
    """The features of a batch of pictures or texts.

    Attributes:
      tokens: one vector a patch or cell of a picture in row order, or a token of a text, [B, N, D].
      pooled: one vector each, [B, E].
      extra: class and register tokens, [B, R, D]; R may be 0.
    """

    tokens: Array
    pooled: Array
    extra: Array
