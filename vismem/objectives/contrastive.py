"""Pictures and the texts that fit them brought together, all others apart: two towers trained as in
CLIP and LiT (softmax; Radford et al. 2021, Zhai et al. 2022) or SigLIP (sigmoid; Zhai et al. 2023).

What a batch's captions share is not held against them: where two are equal, token for token, each
is true of both pictures, and neither loss counts it as wrong (the elimination of Huynh et al. 2022,
"Boosting contrastive self-supervised learning with false negative cancellation"). With them as
wrong ones sigmoid would ask of one pair to fit and not to fit; softmax would be UniCL's (Yang et
al. 2022), which asks that pictures of one text fit it equally well. Nobody wants to choose that, so
there is no option for it.

Which tower learns is the optimizer's affair: a locked image tower is `optimizer.freeze` with
"vision_encoder/".

Wrong texts come from the batch, and with `optimizer.accumulate` from the microbatch only: that is
another experiment, not the same one in less memory.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vismem import registry
from vismem.errors import UserError
from vismem.models import FUSION, TEXT, VISION_ENCODERS
from vismem.models.fusion import CrossmodalFusion
from vismem.models.towers import ImageEncoder, Projected, TextEncoder, TwoTowers, unit
from vismem.objectives.base import Batch, Metrics, Params, scaled
from vismem.parallel import pairs
from vismem.parallel.mesh import MeshConfig, make_mesh

PLAYER = "towers"
# Loss -> first values of the logits' logarithmic scale and of their bias, as published.
FIRST = {"softmax": (2.6592, None), "sigmoid": (2.3026, -10.0)}


class Contrastive:
    """The objective `contrastive`.

    Args:
      text: `{"name": ..., **options}` of models.TEXT; its tokens' mean speaks for a text.
      vision: the same of models.VISION_ENCODERS.
      fusion: how both sides reach their space: by "crossmodal", each by a perceptron of two layers;
        none, the default, each by a linear layer. Others of models.FUSION are refused.
      vocab_size: of the tokenizer. image_size: height and width in pixels.
      mesh: over which batches are sharded; one device by default.
      loss: "softmax" tells the right one of a batch's texts, and of its pictures; "sigmoid" judges
        every pair by itself.
      width: of the embeddings; without a head, that of what the image encoder finds.
      head: whether the image tower ends in such a layer, as the text tower always does.
      dtype: of the towers' products.
    """

    players = (PLAYER,)

    def __init__(
        self,
        *,
        text: Mapping[str, Any],
        vision: Mapping[str, Any],
        vocab_size: int,
        image_size: int,
        fusion: Mapping[str, Any] | None = None,
        mesh: Mesh | None = None,
        loss: Literal["softmax", "sigmoid"] = "softmax",
        width: int = 256,
        head: bool = True,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ):
        if width < 1:
            raise UserError(f"objective.width={width}: must be at least 1")
        given = {"dtype": jnp.dtype(dtype)}
        # A position table of the run's own pictures' size, unless the config wants another.
        sized = {"size": image_size} if vision.get("name") == "vit" else {}
        image = registry.build(VISION_ENCODERS, {**sized, **vision}, "vision", **given)
        words = registry.build(TEXT, text, "text", vocab_size=vocab_size, **given)
        if not head:
            picture = jnp.zeros((1, image_size, image_size, 3))
            found, _ = jax.eval_shape(image.init_with_output, jax.random.key(0), picture)
            width = found.pooled.shape[-1]
        if fusion:
            fuse = registry.build(FUSION, fusion, "fusion", width=width, **given)
            if not isinstance(fuse, CrossmodalFusion):
                raise UserError(
                    f"fusion.name={fusion['name']!r}: two towers do not see each other; set "
                    "fusion.name=crossmodal, a perceptron for each, or leave fusion out"
                )
        scale, bias = FIRST[loss]
        self.towers = TwoTowers(
            Projected(ImageEncoder(image), width if head else 0, bool(fusion), **given),
            Projected(TextEncoder(words), width, bool(fusion), **given),
            scale,
            bias,
        )
        self.image_size, self.softmax = image_size, loss == "softmax"
        self.mesh = mesh or make_mesh(MeshConfig(), jax.devices()[:1])

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters {"towers": tree}, boxed with logical axes; `batch` gives the shapes."""
        image = jnp.zeros((1, self.image_size, self.image_size, 3))
        return {PLAYER: self.towers.init(key, image, batch["tokens"][:1])["params"]}

    def apply(self, params: Params, *args: Any, method: Any) -> Any:
        """The towers' `method` with these parameters."""
        return self.towers.apply({"params": params[PLAYER]}, *args, method=method)

    @partial(jax.jit, static_argnums=0)
    def image_features(self, params: Params, image: jax.Array) -> jax.Array:
        """What the image encoder finds before its head: uint8 [B, H, W, 3] -> [B, E']."""
        encoder = {"params": params[PLAYER]["image"]["encoder"]}
        return self.towers.image.encoder.apply(encoder, scaled(image)).pooled

    @partial(jax.jit, static_argnums=0)
    def embed_images(self, params: Params, image: jax.Array) -> jax.Array:
        """uint8 [B, H, W, 3] -> float32 [B, width], of unit length."""
        return self.apply(params, scaled(image), method="encode_image").pooled

    @partial(jax.jit, static_argnums=0)
    def embed_texts(self, params: Params, tokens: jax.Array) -> jax.Array:
        """int32 [B, L] -> float32 [B, width], of unit length."""
        return self.apply(params, tokens, method="encode_text").pooled

    def logits(self, params: Params, cosines: jax.Array) -> jax.Array:
        """Cosines of pictures and texts as logits."""
        bias = params[PLAYER].get("logit_bias", 0.0)
        return cosines * jnp.exp(params[PLAYER]["logit_scale"]) + bias

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The mean over pictures and texts.

        Args:
          player: "towers".
          params: {"towers": tree}.
          batch: `image` uint8 [B, H, W, 3] or, if they are known already, the image encoder's
            `image_features` [B, E'] of them; `tokens` int32 [B, L]; and if the source has them,
            `near_miss_tokens` int32 [B, K, L], texts that are just false of the picture: more wrong
            ones, for that picture alone.

        Returns:
          The loss, and metrics: `scale` of the logits; and with near misses `near_miss`, the share
          of pictures that the right text fits better than all its near misses.
        """
        if "image_features" in batch:
            project = lambda towers, features: towers.image.project(features)  # noqa: E731
            images = unit(self.apply(params, batch["image_features"], method=project))
        else:
            images = self.embed_images(params, batch["image"])
        texts = self.embed_texts(params, batch["tokens"])
        matching = self.logits(params, (images * texts).sum(-1))
        metrics = {"scale": jnp.exp(params[PLAYER]["logit_scale"])}
        missed = jnp.zeros((len(images), 0))
        if "near_miss_tokens" in batch:
            tokens = batch["near_miss_tokens"]
            wrong = self.embed_texts(params, tokens.reshape(-1, tokens.shape[-1]))
            wrong = wrong.reshape(*tokens.shape[:2], -1)
            missed = self.logits(params, (images[:, None] * wrong).sum(-1))  # as `matching`
            metrics["near_miss"] = (matching > missed.max(1)).mean()
        # One product gives scaled and shifted logits.
        bias = self.logits(params, jnp.zeros(()))
        scale = self.logits(params, jnp.ones(())) - bias
        ones = jnp.ones((len(images), 1))
        x = jnp.concatenate([scale * images, bias * ones], axis=1)
        y = jnp.concatenate([texts, ones], axis=1)
        if self.softmax:
            rows, columns = pairs.logsumexp(self.mesh, x, y, batch["tokens"])
            each = jnp.concatenate([rows[:, None], matching[:, None], missed], axis=1)
            rows, columns = jax.nn.logsumexp(each, axis=1), jnp.logaddexp(columns, matching)
            return ((rows + columns) / 2 - matching).mean(), metrics
        wrong = pairs.softplus(self.mesh, x, y, batch["tokens"]) + jax.nn.softplus(missed).sum(1)
        return (wrong + jax.nn.softplus(-matching)).mean(), metrics
