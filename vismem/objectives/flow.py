"""Rectified flow, unrolled over a chain of canvases so that memory learns to carry what it saw.

The path from noise to picture is straight (Liu et al. 2022; Lipman et al. 2022), with t = 1 clean:

    X_t = t * picture + (1 - t) * noise
    velocity = picture - noise = (picture - X_t) / (1 - t)

The model estimates the picture, and the loss is the squared error of the velocity that estimate
implies (x-prediction with v-loss; Li & He 2025, "Back to basics: let denoising generative models
denoise").

A conversation is a scan over its turns around the scan over steps: memory goes from turn to turn,
and each turn begins with the picture that the one before left. A picture with a text is a
conversation of one turn.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.models.generator import Carry, Context
from vismem.objectives.autoencode import Pixels
from vismem.objectives.base import Batch, Metrics, Params, scaled, scan
from vismem.objectives.generative import PLAYER, Generative, check_share, over_chains
from vismem.random import named_key


@dataclass(eq=False, kw_only=True)
class Flow(Generative):
    """The objective `flow`.

    Attributes:
      prediction: what the painter's output is read as: the picture "x", the velocity "v" or the
        noise "eps".
      times: distribution of the chain's cleanest time: "uniform" or "logit_normal".
      time_mean, time_std: of the logit-normal. Below 0 is toward noise, where flat pictures are
        decided.
      loss_cap: the largest weight of the squared error of the picture, 1 / (1 - t)^2 before the
        cap on the straight path.
      unroll: R, canvases of a chain, from noisy to clean, each with a loss.
      chains: share of a batch that is chains, 1 or one in 2, 3, ...; the rest is one canvas each.
      ratio: range of s / t between neighbours of the chain.
      carry: probability that a step keeps the memory and estimate of the one before; else both
        start anew.
      own: share of a conversation's turns that begin with the model's own estimate of the picture
        before, of the cleanest step of its chain, instead of the true one: in drawing there is no
        other.
      text_dropout: probability that a text is dropped, for classifier-free guidance (Ho & Salimans
        2022).
    """

    prediction: Literal["x", "v", "eps"] = "x"
    times: Literal["uniform", "logit_normal"] = "logit_normal"
    time_mean: float = -1.2
    time_std: float = 1.0
    loss_cap: float = 400.0
    unroll: int = 2
    chains: float = 1.0
    ratio: tuple[float, float] = (0.5, 1.0)
    carry: float = 0.9
    own: float = 0.3
    text_dropout: float = 0.1
    remat: bool = True

    players, redraws = (PLAYER,), True

    def __post_init__(self):
        if self.unroll < 1:
            raise UserError(f"objective.unroll={self.unroll}: must be at least 1")
        check_share(self.chains)
        low, high = self.ratio
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"objective.ratio={self.ratio}: must be two shares in order, from 0 to 1"
            )
        super().__post_init__()
        self.generator = self.generator.clone(copies=self.prediction == "x")

    # --- parameters and modules ---------------------------------------------------------------

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """See `Generative.init`; a conversation's turns begin with pictures."""
        if not is_conversation(batch):
            return super().init(key, batch)
        if not isinstance(self.codec, Pixels):
            raise UserError(
                "objective.autoencoder: conversations are drawn in pixels; leave it out"
            )
        size, channels = self.image_size, self.codec.channels + ("kept" in batch)
        turn = {"tokens": batch["tokens"][:, 0]}
        return super().init(key, turn, jnp.zeros((1, size, size, channels)))

    @property
    def chained(self) -> bool:
        """Whether memory and estimate have learned to go from step to step of a turn."""
        return self.unroll > 1

    def open(self, params: Params, picture: jax.Array, length: int) -> Carry:
        """What a conversation begins with that is about a given picture: memory has seen it.

        Args:
          picture: [B, H, W, C] in [-1, 1].
          length: L, tokens of a text.
        """
        fresh = self.apply(params, len(picture), method="begin")
        nothing_said = jnp.zeros((len(picture), length), jnp.int32)
        context = self.encode(params, nothing_said, fresh.estimate)
        return self.apply(params, fresh, picture, context, method="remember")

    def estimate(self, output: jax.Array, canvas: jax.Array, time: jax.Array) -> jax.Array:
        """See `Generative.estimate`; what the output is, `prediction` says."""
        if self.prediction == "x":
            return output
        (a, b), (da, db) = self.motion(column(time))
        if self.prediction == "v":
            return (b * output - db * canvas) / (b * da - a * db)
        return (canvas - b * output) / jnp.maximum(a, 0.05)

    # --- the path from noise to picture --------------------------------------------------------

    def path(self, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The shares (a, b) in X_t = a * picture + b * noise, of times of any shape."""
        return time, 1 - time

    def motion(self, time: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        """The path (a, b), and how fast each of the two changes with time."""
        return jax.jvp(self.path, (time,), (jnp.ones_like(time),))

    def weight(self, time: jax.Array) -> jax.Array:
        """Of the squared error of an estimate, which makes it that of the velocity it implies."""
        (a, b), (da, db) = self.motion(time)
        return jnp.square(da - db * a / jnp.maximum(b, 1e-3))

    # --- what the scan over drawing steps needs -----------------------------------------------

    def start(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """X_1: noise."""
        return jax.random.normal(key, shape)

    def renoise(
        self, canvas: jax.Array, time: jax.Array, to: jax.Array, key: jax.Array
    ) -> jax.Array:
        """X_s from X_t, s <= t, with exact marginals, saying nothing that X_t does not.

            X_s = r X_t + sqrt(b_s^2 - r^2 b_t^2) * noise,     r = a_s / a_t

        Canvases of one picture that shared their noise would give it away: two of them determine
        the picture, and memory learns to cheat. Here the noisier is the cleaner one plus fresh
        noise.

        Args:
          canvas: X_t [B, H, W, C]. time, to: t and s, [B].
        """
        (a, b), (a_to, b_to) = self.path(column(time)), self.path(column(to))
        ratio = a_to / jnp.maximum(a, 1e-6)
        variance = jnp.square(b_to) - jnp.square(ratio * b)
        noise = jax.random.normal(key, canvas.shape)
        return ratio * canvas + jnp.sqrt(jnp.maximum(variance, 0)) * noise

    def velocity(self, canvas: jax.Array, estimate: jax.Array, time: jax.Array) -> jax.Array:
        """The velocity dX/dt that an estimate implies."""
        (a, b), (da, db) = self.motion(column(time))
        return da * estimate + db * (canvas - a * estimate) / jnp.maximum(b, 1e-3)

    def advance(
        self, canvas: jax.Array, estimate: jax.Array, time: jax.Array, to: jax.Array
    ) -> jax.Array:
        """X from `time` to `to` along the path of the estimate and the noise that is left of X_t
        without it: exact for an estimate that does not change (DDIM; Song et al. 2021), and on the
        straight path Euler's step."""
        (a, b), (a_to, b_to) = self.path(column(time)), self.path(column(to))
        return a_to * estimate + b_to * (canvas - a * estimate) / jnp.maximum(b, 1e-6)

    def refresh(
        self,
        canvas: jax.Array,
        estimate: jax.Array,
        time: jax.Array,
        to: jax.Array,
        key: jax.Array,
    ) -> jax.Array:
        """X from `time` to `to`, both [B]: up to half time the estimate with noise of its own, as
        in multistep consistency sampling (Song et al. 2023, algorithm 1), from there on `advance`.

        Where noise is kept, parts of a picture that were begun on a whim stay to the end; here what
        does not agree with the rest is drawn anew.
        """
        anew = self.renoise(estimate, jnp.ones_like(time), to, key)
        kept = self.advance(canvas, estimate, time, to)
        return jnp.where(column(time) < 0.5, anew, kept)

    def log_snr(self, time: jax.Array) -> jax.Array:
        """log(a / b), in which the higher-order solvers measure their steps."""
        a, b = self.path(jnp.clip(time, 1e-6, 1 - 1e-6))
        return jnp.log(a) - jnp.log(b)

    def clip(self, estimate: jax.Array) -> jax.Array:
        """Pixels and codes of ours lie in [-1, 1]; the latents of others have no bounds."""
        return jnp.clip(estimate, -self.codec.bound, self.codec.bound)

    # --- training ------------------------------------------------------------------------------

    def sample_times(self, key: jax.Array, batch: int) -> jax.Array:
        """Times of every chain, [R, B], from noisy to clean."""
        key_clean, key_ratio = named_key(key, "clean"), named_key(key, "ratio")
        if self.times == "uniform":
            time = jax.random.uniform(key_clean, (batch,))
        else:
            normal = jax.random.normal(key_clean, (batch,))
            time = jax.nn.sigmoid(self.time_mean + self.time_std * normal)
        shape, (low, high) = (self.unroll - 1, batch), self.ratio
        ratios = jax.random.uniform(key_ratio, shape, minval=low, maxval=high)
        clean_to_noisy = jnp.concatenate([jnp.ones((1, batch)), jnp.cumprod(ratios, axis=0)])
        return (time * clean_to_noisy)[::-1]

    def chain(self, picture: jax.Array, times: jax.Array, key: jax.Array) -> jax.Array:
        """Canvases [R, B, H, W, C] of pictures [B, H, W, C] at times [R, B] (noisy to clean)."""
        a, b = self.path(column(times[-1]))
        noise = jax.random.normal(named_key(key, "canvas"), picture.shape)
        canvases = [a * picture + b * noise]
        for r in range(len(times) - 2, -1, -1):
            step_key = named_key(key, f"renoise {r}")
            canvases.append(self.renoise(canvases[-1], times[r + 1], times[r], step_key))
        return jnp.stack(canvases[::-1])

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """Mean squared error of the velocity over the steps of every chain and the turns of every
        conversation.

        Args:
          player: "generator".
          params: {"generator": tree}.
          batch: `image` uint8 [B, H, W, C], `tokens` int32 [B, L] and, if they are known already,
            the encoder's `text_features` [B, L, E] of them. Of conversations, all with an axis of
            turns [B, T, ...], and `mask` bool [B, T], the turns that there are; if need be `left`,
            `kept` and `first` (data/__init__.py).
          key: all randomness of the loss.
          train: whether texts are dropped, and turns begin with the model's own estimates.

        Returns:
          The loss, and metrics: `mse`, the squared error of the picture at each chain's cleanest
          step.
        """
        params = params | {PLAYER: self.generator.stacked(params[PLAYER])}
        loss = partial(self._loss, params, train)
        return over_chains(loss, batch, key, self.unroll, self.chains if train else 1)

    def _loss(
        self, params: Params, train: bool, batch: Batch, key: jax.Array, canvases: int
    ) -> tuple[jax.Array, Metrics]:
        """`loss` of chains that all have so many canvases."""
        conversation, said = is_conversation(batch), by_turn(batch)
        count, size = said["mask"].shape

        def turn(carry: Carry, now: tuple[jax.Array, Batch]) -> tuple[Carry, jax.Array]:
            index, batch = now
            turn_key = jax.random.fold_in(key, index)
            picture = self.codec.encode(params, batch["image"])
            tokens, before = batch["tokens"], carry.estimate
            if "kept" in batch:
                before = jnp.concatenate([before, batch["kept"][..., None]], axis=-1)
            if train:
                chance = jax.random.uniform(named_key(turn_key, "text"), (size, 1))
                tokens = jnp.where(chance >= self.text_dropout, tokens, 0)
            context = self.encode(params, tokens, before, batch.get("text_features"))
            times = self.sample_times(named_key(turn_key, "times"), size)[-canvases:]
            chain = self.chain(picture, times, turn_key)
            keep = jax.random.uniform(named_key(turn_key, "carry"), times.shape) < self.carry
            estimate, errors = self.estimates(params, picture, chain, times, keep, carry, context)
            weight = jnp.minimum(self.weight(times), self.loss_cap)
            if conversation:
                own = jax.random.uniform(named_key(turn_key, "own"), (size,)) < self.own * train
                left = picture
                if "left" in batch:  # what is to be put right next is shown as it is
                    left = scaled(batch["left"])
                    own &= (left == picture).all((1, 2, 3))
                left = jnp.where(column(own), self.clip(estimate), left)
                carry = self.apply(params, carry, left, context, method="remember")
            return carry, jnp.stack([(weight * errors).mean(0), errors[-1]])

        # Without remat turns and steps are laid out one after the other, also because the stacks in
        # which a loop keeps what the backward pass needs cost more than they save.
        if self.remat and conversation:  # of a single turn the steps do so already
            turn = jax.checkpoint(turn)
        first = self.apply(params, size, method="begin")
        if "first" in batch:
            first = self.open(params, scaled(batch["first"]), batch["tokens"].shape[-1])
        _, found = scan(turn, first, (jnp.arange(count), said), loop=self.remat)
        # Of every conversation by itself: what it weighs does not change with how long the others
        # of its batch or microbatch are.
        share = said["mask"] / said["mask"].sum(0)
        loss, mse = (found * share[:, None]).sum(0).mean(1)
        return loss, {"mse": mse}

    def estimates(
        self,
        params: Params,
        picture: jax.Array,
        canvases: jax.Array,
        times: jax.Array,
        keep: jax.Array,
        first: Carry,
        context: Context,
    ) -> tuple[jax.Array, jax.Array]:
        """Estimates along a chain; memory goes from step to step.

        Args:
          params: {"generator": tree}.
          picture: what is to be estimated, [B, H, W, C].
          canvases: [R, B, H, W, C] at times [R, B].
          keep: bool [R, B], whether a step keeps what the one before left.
          first: what the turn begins with.
          context: C.

        Returns:
          The last estimate [B, H, W, C], and the squared errors of all [R, B], means over pixels.
          Gradients pass from step to step through memory only.
        """

        def step(carry: Carry, now: tuple[jax.Array, ...]) -> tuple[Carry, jax.Array]:
            canvas, time, kept = now
            carry = jax.tree.map(lambda c, f: jnp.where(wide(kept, c), c, f), carry, first)
            carry, _ = self.step(params, carry, canvas, time, context)
            error = jnp.square(carry.estimate - picture).mean((1, 2, 3))
            return carry.replace(estimate=jax.lax.stop_gradient(carry.estimate)), error

        if self.remat:
            step = jax.checkpoint(step)
        last, errors = scan(step, first, (canvases, times, keep), loop=self.remat)
        return last.estimate, errors


def refresh_times(steps: int) -> np.ndarray:
    """When the steps of drawings that `Flow.refresh` begin, then 1, float32 [steps + 1]: shorter at
    the noisy end, where a picture is decided."""
    return np.linspace(0, 1, steps + 1, dtype=np.float32) ** 2


def is_conversation(batch: Batch) -> bool:
    """Whether a batch is of conversations: pictures [B, T, H, W, C], not [B, H, W, C]."""
    return batch["image"].ndim == 5


def by_turn(batch: Batch) -> Batch:
    """What is seen and said, turn by turn, [T, B, ...]: `image`, `tokens` and `mask`; and if there
    are any `text_features`, `left` and `kept`. A picture with a text is a turn."""
    names = ("image", "tokens", "text_features", "mask", "left", "kept")
    batch = {name: batch[name] for name in names if name in batch}
    if not is_conversation(batch):
        batch = {name: x[:, None] for name, x in batch.items()}
        batch["mask"] = jnp.ones(batch["image"].shape[:2], bool)
    return {name: jnp.swapaxes(x, 0, 1) for name, x in batch.items()}


def column(x: jax.Array) -> jax.Array:
    """[B] (or a scalar) -> [B, 1, 1, 1] (or a scalar), to multiply pictures."""
    return x.reshape(*x.shape, 1, 1, 1) if x.ndim else x


def wide(x: jax.Array, like: jax.Array) -> jax.Array:
    """[B] -> [B, 1, ...] with the number of axes of `like`."""
    return x.reshape(x.shape + (1,) * (like.ndim - x.ndim))
