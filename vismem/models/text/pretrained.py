"""A pretrained text encoder as a part of a model."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vismem import registry
from vismem.errors import UserError
from vismem.models.layers import Array

ENCODERS = {
    "bert": "vismem.models.text.bert:Bert",
    "clip": "vismem.models.text.clip:TextTower",
    "gpt2": "vismem.models.text.gpt2:GPT2",
    "llama": "vismem.models.text.llama:Llama",
    "t5": "vismem.models.text.t5:T5Encoder",
}


class PretrainedText(nn.Module):
    """Token ids int32 [B, L] (0 is padding) -> features [B, L, width] and mask bool [B, L].

    No encoder sees padding, not SigLIP's either, which was trained on texts padded to 64 tokens.

    Attributes:
      folder: of the checkpoint, or its name on the Hub. It is read when a run begins: its weights
        fill the parameters (training/encoders.py), its tokenizer becomes the run's.
      encoder: `{"name": ..., **options}` of ENCODERS, as the run found it in the folder.
      offset: what the tokenizer added to the encoder's own ids (data/tokenizers.py).
    """

    vocab_size: int
    folder: str
    encoder: Mapping[str, Any]
    offset: int = 0
    dtype: Any = jnp.float32

    def setup(self) -> None:
        rows = self.encoder["vocab_size"]
        if self.vocab_size - self.offset > rows:
            raise UserError(
                f"text.folder={self.folder!r}: has {rows} tokens, but data.tokenizer has "
                f"{self.vocab_size - self.offset}; take the tokenizer of the same folder"
            )
        self.module = registry.build(ENCODERS, self.encoder, "text.encoder", dtype=self.dtype)

    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        mask = tokens > 0
        ids = jnp.where(mask, tokens - self.offset, 0)
        return self.module(ids, mask).tokens, mask
