"""Drawing with tokens: a grid of them, all masked at first, is revealed over T steps, the surest
tokens first (MaskGIT; Chang et al. 2022). In row order it is another model: objectives/raster.py.

The canvas X_t [B, h, w, V] holds every cell's token one-hot, and zeros where a cell is masked; t is
the share of cells that are known. The estimate Y_{t+1} holds logits of every cell's token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from vismem.errors import UserError
from vismem.models.generator import Carry, Context
from vismem.objectives.autoencode import Autoencode
from vismem.objectives.base import Batch, Metrics, Params, scan
from vismem.objectives.generative import PLAYER, check_share, over_chains
from vismem.objectives.refine import Refiner
from vismem.random import named_key

CERTAIN = 30.0  # logit of a token that is known


@dataclass(eq=False, kw_only=True)
class Masked(Refiner):
    """The objective `masked`.

    Attributes:
      autoencoder: options of `autoencode`, whose tokens are drawn; in a config the folder of the
        run that has learned it.
      order: whether the surest tokens are revealed first, wherever they are, or one after the other
        in row order, which makes this a `Raster`.
      steps: R, canvases of a training chain, from the most masked to the least.
      chains: share of a batch that is chains, 1 or one in 2, 3, ...; the rest is one canvas each.
      ratio: range of s / t between neighbours of the chain.
      carry: probability that a step keeps the memory and estimate of the one before; else both
        start anew.
      text_dropout: probability that a text is dropped, for classifier-free guidance.
      label_smoothing: share of the target that goes to all tokens alike.
      temperature: of the tokens drawn, 0 for the likeliest. Below 1 since some of a model's
        probability is what label smoothing gave to all tokens: specks, where it is drawn.
      choice_temperature: of the noise by which less sure tokens are revealed too; it goes to zero
        with the last step.
    """

    autoencoder: Mapping[str, Any] = field()  # required
    order: Literal["random", "raster"] = "random"
    steps: int = 2
    chains: float = 1.0
    ratio: tuple[float, float] = (0.5, 1.0)
    carry: float = 0.9
    text_dropout: float = 0.1
    label_smoothing: float = 0.1
    temperature: float = 0.3
    choice_temperature: float = 4.5

    players, redraws = (PLAYER,), True

    def __new__(cls, *, order: str = "random", **options: Any) -> "Masked":
        """Of the class that draws in that order."""
        if cls is Masked and order == "raster":
            from vismem.objectives.raster import Raster  # which is made of this class

            return object.__new__(Raster)
        return object.__new__(cls)

    def __post_init__(self):
        super().__post_init__()
        check_share(self.chains)
        for key in ("temperature", "choice_temperature"):
            if not getattr(self, key) >= 0:
                raise UserError(f"objective.{key}={getattr(self, key)}: must not be negative")
        low, high = self.ratio
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"objective.ratio={self.ratio}: must be two shares in order, from 0 to 1"
            )
        if not isinstance(self.codec, Autoencode):
            raise UserError(
                f"objective.autoencoder={self.autoencoder.get('folder')!r}: has latents and no "
                "tokens, which masked draws; name a run of the objective autoencode"
            )
        self.generator = self.generator.clone(channels=self.codec.autoencoder.fsq.vocab_size)

    def step(
        self, params: Params, carry: Carry, canvas: jax.Array, time: jax.Array, context: Context
    ) -> tuple[Carry, jax.Array]:
        """See `Generative.step`; what memory is shown of Y_t are probabilities."""
        shown = carry.replace(estimate=jax.nn.softmax(carry.estimate))
        return super().step(params, shown, canvas, time, context)

    def estimate(self, output: jax.Array, canvas: jax.Array, time: jax.Array) -> jax.Array:
        """Logits [B, h, w, V], certain where the token is known."""
        return jnp.where(known(canvas)[..., None], self.settled(canvas), output)

    def settled(self, canvas: jax.Array) -> jax.Array:
        """Logits of the tokens that a canvas holds."""
        return CERTAIN * canvas

    @property
    def chained(self) -> bool:
        """Whether memory and estimate have learned to go from step to step."""
        return self.steps > 1

    # --- what the scan over drawing steps needs -----------------------------------------------

    def start(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """X_1: nothing is known."""
        return jnp.zeros(shape)

    def advance(
        self, canvas: jax.Array, estimate: jax.Array, time: jax.Array, to: jax.Array
    ) -> jax.Array:
        """X from `time` to `to` with the likeliest tokens, nothing left to chance."""
        return self._reveal(canvas, estimate, estimate, to, jnp.zeros(()))

    def reveal(
        self, canvas: jax.Array, estimate: jax.Array, to: jax.Array, key: jax.Array
    ) -> jax.Array:
        """X at `to` with tokens drawn at random from the logits."""
        chance = jax.random.gumbel(named_key(key, "token"), estimate.shape)
        doubt = jax.random.gumbel(named_key(key, "choice"), estimate.shape[:3])
        noise = self.choice_temperature * (1 - to) * doubt
        return self._reveal(canvas, estimate, estimate + self.temperature * chance, to, noise)

    def _reveal(
        self,
        canvas: jax.Array,
        logits: jax.Array,
        preferred: jax.Array,
        to: jax.Array,
        noise: jax.Array,
    ) -> jax.Array:
        """The canvas with a share `to` of the cells known, those with the most of the `preferred`
        tokens' log probability plus noise."""
        shape = canvas.shape[:3]
        tokens = jnp.where(known(canvas), canvas.argmax(-1), preferred.argmax(-1))
        revealed = jax.nn.one_hot(tokens, canvas.shape[-1])
        sure = (jax.nn.log_softmax(logits) * revealed).sum(-1) + noise
        sure = jnp.where(known(canvas), jnp.inf, sure).reshape(shape[0], -1)
        rank = (-sure).argsort(axis=1).argsort(axis=1).reshape(shape)
        count = jnp.round(to * shape[1] * shape[2])
        return revealed * (known(canvas) | (rank < count))[..., None]

    def picture(self, params: Params, canvas: jax.Array) -> jax.Array:
        """What the likeliest tokens of a canvas or an estimate show, [B, H, W, 3] in [-1, 1]."""
        codes = self.codec.autoencoder.fsq.codes(canvas.argmax(-1))
        return jnp.clip(self.codec.decode(params, codes), -1, 1)

    # --- training ------------------------------------------------------------------------------

    def sample_times(self, key: jax.Array, batch: int) -> jax.Array:
        """Times of every chain, [R, B], from the most masked to the least.

        The least masked canvas knows as much as one of the canvases of a drawing, whichever: few
        cells mostly, as in MaskGIT's cosine schedule.
        """
        time = 1 - jnp.cos(jnp.pi / 2 * jax.random.uniform(named_key(key, "clean"), (batch,)))
        low, high = self.ratio
        shape = (self.steps - 1, batch)
        ratios = jax.random.uniform(named_key(key, "ratio"), shape, minval=low, maxval=high)
        clean_to_masked = jnp.concatenate([jnp.ones((1, batch)), jnp.cumprod(ratios, axis=0)])
        return (time * clean_to_masked)[::-1]

    def renoise(
        self, canvas: jax.Array, time: jax.Array, to: jax.Array, key: jax.Array
    ) -> jax.Array:
        """X_s from X_t, s <= t, with more cells masked: what it knows, X_t knew.

        Args:
          canvas: X_t [B, h, w, V]. time, to: t and s, [B].
        """
        chance = jax.random.uniform(key, canvas.shape[:3])
        kept = chance < (to / jnp.maximum(time, 1e-6))[:, None, None]
        return canvas * kept[..., None]

    def chain(self, clean: jax.Array, times: jax.Array, key: jax.Array) -> jax.Array:
        """Canvases [R, B, h, w, V] at times [R, B] of what is known in the end, [B, h, w, V]."""
        canvases, time = [clean], jnp.ones(len(clean))
        for r, to in reversed(list(enumerate(times))):
            step_key = named_key(key, f"mask {r}")
            canvases.append(self.renoise(canvases[-1], time, to, step_key))
            time = to
        return jnp.stack(canvases[:0:-1])

    def examples(
        self, params: Params, batch: Batch, key: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of a batch's pictures the tokens int32 [B, h, w], also one-hot [B, h, w, V]; and its
        texts int32 [B, L], where training some of them dropped."""
        text, fsq = batch["tokens"], self.codec.autoencoder.fsq
        tokens = fsq.tokens(self.codec.encode(params, batch["image"]))
        if train:
            chance = jax.random.uniform(named_key(key, "text"), (len(tokens), 1))
            text = jnp.where(chance >= self.text_dropout, text, 0)
        return tokens, jax.nn.one_hot(tokens, fsq.vocab_size), text

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The mean cross-entropy of masked tokens over the canvases of every chain.

        Args:
          player: "generator".
          params: {"generator": tree, "autoencoder": tree}.
          batch: `image` uint8 [B, H, W, 3], `tokens` int32 [B, L] and, if they are known already,
            their `text_features`.

        Returns:
          The loss in nats a token, and metrics: `accuracy`, the share of masked tokens that are the
          likeliest, at each chain's least masked canvas.
        """
        params = params | {PLAYER: self.generator.stacked(params[PLAYER])}
        loss = partial(self._loss, params, train)
        return over_chains(loss, batch, key, self.steps, self.chains if train else 1)

    def _loss(
        self, params: Params, train: bool, batch: Batch, key: jax.Array, canvases: int
    ) -> tuple[jax.Array, Metrics]:
        """`loss` of chains that all have so many canvases."""
        tokens, clean, text = self.examples(params, batch, key, train)
        size, target = len(tokens), optax.smooth_labels(clean, self.label_smoothing)
        times = self.sample_times(named_key(key, "times"), size)[-canvases:]
        chain = self.chain(clean, times, key)
        keep = jax.random.uniform(named_key(key, "carry"), times.shape) < self.carry
        first = self.apply(params, size, method="begin")
        context = self.encode(params, text, first.estimate, batch.get("text_features"))

        def step(carry: Carry, now: tuple[jax.Array, ...]) -> tuple[Carry, tuple[jax.Array, ...]]:
            canvas, time, kept = now
            memory = jnp.where(kept[:, None, None], carry.memory, first.memory)
            before = jnp.where(kept[:, None, None, None], carry.estimate, first.estimate)
            carry, _ = self.step(params, Carry(memory, before), canvas, time, context)
            masked = (~known(canvas)).astype(jnp.float32)
            each = masked / jnp.maximum(masked.sum((1, 2), keepdims=True), 1)
            errors = optax.softmax_cross_entropy(carry.estimate, target)
            right = carry.estimate.argmax(-1) == tokens
            found = (errors * each).sum((1, 2)), (right * each).sum((1, 2))
            return carry.replace(estimate=jax.lax.stop_gradient(carry.estimate)), found

        if self.remat:
            step = jax.checkpoint(step)
        _, (errors, right) = scan(step, first, (chain, times, keep), loop=self.remat)
        return errors.mean(), {"accuracy": right[-1].mean()}


def known(canvas: jax.Array) -> jax.Array:
    """Which cells of a canvas [B, h, w, V] hold a token, bool [B, h, w]."""
    return canvas.any(-1)
