"""Labels from an encoder's pooled features."""

import flax.linen as nn

from vismem.models.layers import Array, Dense


class Classifier(nn.Module):
    """Pictures [B, H, W, C] -> logits [B, labels], by one linear layer."""

    encoder: nn.Module
    labels: int

    @nn.compact
    def __call__(self, image: Array) -> Array:
        return Dense(self.labels, ("embed", None), name="head")(self.encoder(image).pooled)
