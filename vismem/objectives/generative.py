"""What all objectives that draw have in common: the generator, on a grid of pixels or codes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.models.generator import (
    Carry,
    Context,
    Generator,
    MemoryConfig,
    PainterConfig,
    StrategyConfig,
)
from vismem.objectives.autoencode import make_codec
from vismem.objectives.base import Batch, Metrics, Params
from vismem.random import named_key

PLAYER = "generator"


@dataclass(eq=False, kw_only=True)
class Generative:
    """An objective that trains the generator. On the grid of an autoencoder, which is not trained
    here, "picture" is its code, [B, h, w, C], until all is drawn.

    Attributes:
      text, vision, fusion, painter, memory, strategy: the generator's parts (models/generator.py).
      vocab_size: of the tokenizer. image_size: height and width in pixels.
      autoencoder: options of what is drawn on the grid of (`make_codec`); in a config the folder of
        a run of `autoencode`, or of diffusers' AutoencoderKL, or a mapping with that `folder` and,
        for plans, which read none, what is in it; none for pixels.
      remat: whether a step's activations are computed again in the backward pass.
      text_dropout: probability that a text is dropped in training; where it is 0, nothing is drawn
        without a text.
      codec: pictures to what is drawn and back.
    """

    text_dropout = 0.0

    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    fusion: Mapping[str, Any]
    painter: PainterConfig
    memory: MemoryConfig
    strategy: StrategyConfig
    vocab_size: int
    image_size: int
    autoencoder: Mapping[str, Any] | None = None
    remat: bool = False

    def __post_init__(self):
        for key in ("carry", "own", "text_dropout"):  # as far as an objective has them
            if not 0 <= getattr(self, key, 0) <= 1:
                raise UserError(f"objective.{key}={getattr(self, key)}: must be from 0 to 1")
        self.codec = make_codec(self.image_size, self.autoencoder)
        self.generator = Generator(
            text=self.text,
            vision=self.vision,
            fusion=self.fusion,
            painter=self.painter,
            memory=self.memory,
            strategy=self.strategy,
            vocab_size=self.vocab_size,
            size=self.codec.size,
            channels=self.codec.channels,
        )

    def init(self, key: jax.Array, batch: Batch, before: jax.Array | None = None) -> Params:
        """Parameters {"generator": tree}, and of an autoencoder, boxed with logical axes.

        Args:
          batch: gives the shapes: `tokens` int32 [B, L].
          before: of the shape of what a turn begins with, for one example, where there are turns.
        """

        def once(generator: Generator, tokens: jax.Array) -> jax.Array:
            carry, context = generator.begin(1), generator.encode(tokens, before)
            return generator.step(carry, carry.estimate, jnp.zeros(1), context)[1]

        drawn = self.generator.init(key, batch["tokens"][:1], method=once)["params"]
        return {PLAYER: drawn} | self.codec.init(named_key(key, "codec"), batch)

    def apply(self, params: Params, *args: Any, method: Any) -> Any:
        """The generator's `method` ("encode", "begin", ...) with these parameters."""
        return self.generator.apply({"params": params[PLAYER]}, *args, method=method)

    def encode(
        self,
        params: Params,
        tokens: jax.Array,
        before: jax.Array,
        features: jax.Array | None = None,
    ) -> Context:
        """C of a turn.

        Args:
          tokens: int32 [B, L].
          before: the picture that the turn begins with, [B, H, W, C] or [B, H, W, C + 1] as in
            `Generator.encode`; a model that does not converse does not look at it.
          features: what the text encoder makes of the tokens, if it is known.
        """
        if not self.converses(params):
            before = None
        elif self.inpaints(params):  # nothing must stay unless it is said
            missing = self.generator.channels + 1 - before.shape[-1]
            before = jnp.pad(before, ((0, 0), (0, 0), (0, 0), (0, missing)))
        return self.apply(params, tokens, before, features, method="encode")

    def converses(self, params: Params) -> bool:
        """Whether these parameters have learned from conversations."""
        return "before" in params[PLAYER]

    def inpaints(self, params: Params) -> bool:
        """Whether these parameters have learned that some pixels of a picture must stay."""
        return "kept" in params[PLAYER]

    def check_drawing(self, times: np.ndarray, guidance_scale: float) -> None:
        """See `Drawer.check_drawing`."""
        if guidance_scale != 1 and not self.text_dropout:
            raise UserError(
                f"drawing.guidance_scale={guidance_scale}: leads away from what is drawn without a "
                "text, which the run's training never shows; take 1"
            )

    def prefill(self, params: Params, carry: Carry, canvas: jax.Array, context: Context) -> Any:
        """Nothing: see `Drawer.prefill`."""
        return None

    def step(
        self, params: Params, carry: Carry, canvas: jax.Array, time: jax.Array, context: Context
    ) -> tuple[Carry, jax.Array]:
        """One drawing step: M_t and Y_{t+1} from M_{t-1}, Y_t, X_t, and what the slots attended to.

        Args:
          params: {"generator": tree}.
          carry: M_{t-1} and Y_t.
          canvas: X_t [B, H, W, C].
          time: [B] in [0, 1].
          context: C.

        Returns:
          The carry (M_t, Y_{t+1}), and the slots' attention over the patches, [B, K, P].
        """
        memory, output, attention = self.apply(params, carry, canvas, time, context, method="step")
        return Carry(memory, self.estimate(output, canvas, time)), attention

    def estimate(self, output: jax.Array, canvas: jax.Array, time: jax.Array) -> jax.Array:
        """The painter's output on a canvas, read as a finished picture, [B, H, W, C]."""
        raise NotImplementedError

    def settled(self, canvas: jax.Array) -> jax.Array:
        """Estimates are canvases, unless an objective says otherwise: see `Drawer.settled`."""
        return canvas

    def picture(self, params: Params, canvas: jax.Array) -> jax.Array:
        """What a canvas or an estimate shows, [B, H, W, 3] in [-1, 1]."""
        return jnp.clip(self.codec.decode(params, canvas), -1, 1)


def over_chains(
    loss: Callable[[Batch, jax.Array, int], tuple[jax.Array, Metrics]],
    batch: Batch,
    key: jax.Array,
    canvases: int,
    share: float,
) -> tuple[jax.Array, Metrics]:
    """The loss of a batch of which a share is shown as chains of canvases, and the rest as one
    canvas each: what memory carries is learned from the few, all else from more pictures a second.

    Args:
      loss: of a batch, a key and the number of canvases of each picture, a mean over all of them,
        with metrics that are means over the batch.
      canvases: of a chain.
      share: 1, or one in 2, 3, ... (`check_share`).
    """
    if share == 1 or canvases == 1:
        return loss(batch, key, canvases)
    size, every = len(batch["image"]), round(1 / share)
    if size % every:
        raise UserError(
            f"objective.chains={share}: batches of {size} cannot be parted so; take a batch_size "
            f"of a multiple of {every}"
        )
    # Every so many-th example, which each device finds among its own.
    parts = jax.tree.map(lambda x: x.reshape(size // every, every, *x.shape[1:]), batch)
    few = jax.tree.map(lambda x: x[:, 0], parts)
    rest = jax.tree.map(lambda x: x[:, 1:].reshape(-1, *x.shape[2:]), parts)
    chained, found = loss(few, named_key(key, "chains"), canvases)
    single, others = loss(rest, key, 1)
    weight = canvases / (canvases + every - 1)
    metrics = jax.tree.map(lambda a, b: (a + (every - 1) * b) / every, found, others)
    return weight * chained + (1 - weight) * single, metrics


def check_share(share: float) -> None:
    """Refuses what is no share for `over_chains`."""
    if not 0 < share <= 1 or not isclose(round(1 / share) * share, 1):
        raise UserError(f"objective.chains={share}: must be 1, or one in so many: 0.5, 0.25, ...")
