"""Pictures to grids of codes and back, so that others may draw codes in place of pixels."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from vismem import registry
from vismem.errors import UserError
from vismem.models import AUTOENCODERS
from vismem.models.autoencoder import Autoencoder
from vismem.objectives import OBJECTIVES
from vismem.objectives.base import Batch, Metrics, Params, scaled

PLAYER = "autoencoder"


class Codec:
    """Pictures to the grid of an autoencoder, on which others draw, and back.

    Attributes:
      bound: the largest absolute value of what is drawn.
    """

    bound = math.inf

    def __init__(self, autoencoder: Any, image_size: int):
        self.autoencoder, self.image_size, cell = autoencoder, image_size, autoencoder.cell
        if image_size % cell:
            raise UserError(
                f"data.size={image_size}: a cell of the autoencoder's grid, {cell} x {cell} "
                "pixels, does not divide it"
            )

    @property
    def size(self) -> int:
        """Height and width of a picture's code."""
        return self.image_size // self.autoencoder.cell

    @property
    def channels(self) -> int:
        return self.autoencoder.channels

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters {"autoencoder": tree}, boxed with logical axes."""
        picture = jnp.zeros((1, self.image_size, self.image_size, 3))
        return {PLAYER: self.autoencoder.init(key, picture)["params"]}

    def encode(self, params: Params, image: jax.Array) -> jax.Array:
        """uint8 [B, H, W, 3] -> codes float32 [B, h, w, C]."""
        picture = scaled(image)
        return self.autoencoder.apply({"params": params[PLAYER]}, picture, method="encode")

    def decode(self, params: Params, codes: jax.Array) -> jax.Array:
        """Codes [B, h, w, C], or numbers near them, -> pictures float32 [B, H, W, 3], about
        [-1, 1]."""
        return self.autoencoder.apply({"params": params[PLAYER]}, codes, method="decode")


class Autoencode(Codec):
    """The objective `autoencode`.

    Args:
      image_size: height and width in pixels.
      levels, patch, widths, blocks: see models.autoencoder.Autoencoder.
      dtype: of the convolutions.
    """

    players, bound = (PLAYER,), 1.0

    def __init__(
        self,
        *,
        image_size: int,
        levels: tuple[int, ...] = (4, 4, 4, 4),
        patch: int = 4,
        widths: tuple[int, ...] = (48,),
        blocks: int = 1,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ):
        if patch < 1 or not widths or min(widths) < 1:
            raise UserError(f"objective.patch={patch}, objective.widths={widths}: must be above 0")
        autoencoder = Autoencoder(levels, patch, widths, blocks, dtype=jnp.dtype(dtype))
        super().__init__(autoencoder, image_size)

    def decode(self, params: Params, codes: jax.Array) -> jax.Array:
        """See `Codec.decode`; numbers become the codes nearest to them."""
        return super().decode(params, self.autoencoder.fsq.nearest(codes))

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The mean squared error of the pixels; the only metric is its `psnr` in decibels.

        Args:
          player: "autoencoder".
          params: {"autoencoder": tree}.
          batch: `image` uint8 [B, H, W, 3].
        """
        image = batch["image"]
        restored = self.decode(params, self.encode(params, image))
        loss = jnp.square(restored - scaled(image)).mean()
        return loss, {"psnr": 10 * jnp.log10(4 / loss)}


class Pixels:
    """What drawing asks of a `Codec`, for pictures as they are."""

    channels, bound = 3, 1.0

    def __init__(self, image_size: int):
        self.size = image_size

    def init(self, key: jax.Array, batch: Batch) -> Params:
        return {}

    def encode(self, params: Params, image: jax.Array) -> jax.Array:
        """uint8 [B, H, W, 3] -> float32 [B, H, W, 3] in [-1, 1]."""
        return scaled(image)

    def decode(self, params: Params, codes: jax.Array) -> jax.Array:
        return codes


def make_codec(image_size: int, options: Mapping[str, Any] | None) -> Codec | Pixels:
    """What turns pictures to what is drawn, and back.

    Args:
      options: of `Autoencode`, or by `name` of one in AUTOENCODERS, and the `folder` that they come
        from; None for pixels.
    """
    if options is None:
        return Pixels(image_size)
    options = {k: v for k, v in options.items() if k != "folder"}
    if "name" in options:
        return Codec(registry.build(AUTOENCODERS, options, "objective.autoencoder"), image_size)
    own = {"name": "autoencode", **options}
    return registry.build(OBJECTIVES, own, "objective.autoencoder", image_size=image_size)
