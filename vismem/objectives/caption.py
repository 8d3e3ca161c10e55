"""Texts about pictures: captions, and answers to what a prompt asks."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from vismem import registry
from vismem.errors import UserError
from vismem.models import FUSION, VISION_ENCODERS
from vismem.models import decoding as decoders
from vismem.models.captioner import Captioner
from vismem.models.decoding import Decoding
from vismem.models.fusion import AttentionFusion
from vismem.objectives import texts
from vismem.objectives.base import Batch, Metrics, Params, scaled

PLAYER = "captioner"


class Caption:
    """The objective `caption`.

    Args:
      vision: `{"name": ..., **options}` of models.VISION_ENCODERS.
      text: the same of models.TEXT_TO_TEXT (`texts.writer`).
      fusion: the same of models.FUSION, how a prompt reaches the picture: by "attention" (the
        default) its words join the patches in the T5's encoder; by others what that encoder makes
        of the words alone is folded into one vector, which is added to every patch.
      vocab_size: of the tokenizer. image_size: height and width in pixels.
      length: tokens of a text at most; 0 for as many as the tokenizer gives.
      blind: whether every picture is replaced by a grey one: the baseline that only reads.
      dtype: of the products.
    """

    players = (PLAYER,)

    def __init__(
        self,
        *,
        vision: Mapping[str, Any],
        text: Mapping[str, Any],
        vocab_size: int,
        image_size: int,
        fusion: Mapping[str, Any] | None = None,
        length: int = 0,
        blind: bool = False,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ):
        if length < 0:
            raise UserError(f"objective.length={length}: must not be negative")
        given = {"dtype": jnp.dtype(dtype)}
        # A position table of the run's own pictures' size, unless the config wants another.
        sized = {"size": image_size} if vision.get("name") == "vit" else {}
        image = registry.build(VISION_ENCODERS, {**sized, **vision}, "vision", **given)
        words = texts.writer(text, vocab_size, **given)
        fusion = fusion or {"name": "attention"}
        fuse = registry.build(FUSION, fusion, "fusion", width=words.width, **given)
        # Attention is the T5 encoder's own.
        fuse = None if isinstance(fuse, AttentionFusion) else fuse
        self.captioner = Captioner(image, words, fuse)
        self.image_size, self.length, self.blind = image_size, length or None, blind

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters {"captioner": tree}, boxed with logical axes; `batch` gives the shapes."""
        image = jnp.zeros((1, self.image_size, self.image_size, 3))
        prompt = batch["prompt_tokens"][:1] if "prompt_tokens" in batch else None
        return {PLAYER: self.captioner.init(key, image, prompt, batch["tokens"][:1])["params"]}

    def answers(self, params: Params) -> bool:
        """Whether these parameters have learned from prompts."""
        return not {"asked", "fusion"}.isdisjoint(params[PLAYER])

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The mean cross-entropy of the tokens of the texts, their ends included.

        Args:
          player: "captioner".
          params: {"captioner": tree}.
          batch: `image` uint8 [B, H, W, 3], `tokens` int32 [B, L] and, if there is one, the prompt
            as `prompt_tokens` int32 [B, P].

        Returns:
          The loss in nats a token, and metrics: `exact`, the share of texts whose tokens are all
          the likeliest after those before them.
        """
        tokens = batch["tokens"][:, : self.length]
        image, prompt = self.seen(batch["image"]), batch.get("prompt_tokens")
        read = {"params": params[PLAYER]}, image, prompt, texts.before(tokens)
        loss, exact = texts.cross_entropy(self.captioner.apply(*read), tokens)
        return loss, {"exact": exact}

    def generate(
        self,
        params: Params,
        image: jax.Array,
        prompt: jax.Array | None,
        decoding: Decoding,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Tokens int32 [B, decoding.length] of a text for each picture, padded with 0.

        Args:
          image: uint8 [B, H, W, 3]. prompt: int32 [B, P], or None.
          key: random key, for a temperature above 0.
        """
        params = params[PLAYER]
        features = self.captioner.apply(
            {"params": params}, self.seen(image), prompt, method="encode"
        )
        return decoders.generate(self.captioner, params, *features, decoding, key)

    def seen(self, image: jax.Array) -> jax.Array:
        """uint8 [B, H, W, 3] -> [-1, 1]."""
        image = scaled(image)
        return jnp.zeros_like(image) if self.blind else image
