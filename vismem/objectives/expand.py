"""A vague request to a full description, before anything is drawn: text to text, as T5."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from vismem.models import decoding
from vismem.models.decoding import Decoding
from vismem.objectives import texts
from vismem.objectives.base import Batch, Metrics, Params

PLAYER, PART = "expander", "text_model"


class Expand:
    """The objective `expand`.

    Args:
      text: `{"name": ..., **options}` of models.TEXT_TO_TEXT (`texts.writer`).
      vocab_size: of the tokenizer.
      dtype: of the products.
    """

    players = (PLAYER,)

    def __init__(
        self,
        *,
        text: Mapping[str, Any],
        vocab_size: int,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ):
        self.model = texts.writer(text, vocab_size, jnp.dtype(dtype))

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters {"expander": {"text_model": tree}}, boxed with logical axes; `batch` gives
        the shapes."""
        request, full = batch["prompt_tokens"][:1], batch["tokens"][:1]
        return {PLAYER: {PART: self.model.init(key, request, full, request > 0)["params"]}}

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The mean cross-entropy of the tokens of the descriptions, their ends included.

        Args:
          player: "expander".
          params: {"expander": {"text_model": tree}}.
          batch: `prompt_tokens` int32 [B, L], the requests; `tokens` int32 [B, L], of what they are
            expanded to.

        Returns:
          The loss in nats a token, and no metrics: there are many good expansions.
        """
        request, full = batch["prompt_tokens"], batch["tokens"]
        read = {"params": params[PLAYER][PART]}, request, texts.before(full), request > 0
        loss, _ = texts.cross_entropy(self.model.apply(*read), full)
        return loss, {}

    def generate(
        self, params: Params, request: jax.Array, how: Decoding, key: jax.Array | None = None
    ) -> jax.Array:
        """Tokens int32 [B, how.length] of a description for each request int32 [B, L], padded with
        0.

        Args:
          key: random key, for a temperature above 0.
        """
        params, mask = params[PLAYER][PART], request > 0
        features = self.model.apply({"params": params}, request, mask, method="encode")
        return decoding.generate(self.model, params, features, mask, how, key)
