"""Generator against critic: drawings that a critic, who knows the text too, cannot tell from
pictures (Goodfellow et al. 2014).

The losses are the hinge (Lim & Ye 2017) or the relativistic one, in which a drawing is judged
against the picture of the same text (R3GAN; Huang et al. 2024), with the critic's gradient at
pictures and drawings kept small (R1 + R2). Contrastive terms ask that picture and text, and their
parts, find each other among those of the batch (XMC-GAN; Zhang et al. 2021). Against drawings that
are all alike, a term pays for the distance of two drawings of one text (Yang et al. 2019,
"Diversity-sensitive conditional generative adversarial networks").
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.models.critic import Critic, Reading, Verdict
from vismem.models.generator import Carry
from vismem.objectives.base import Batch, Metrics, Params, scan
from vismem.objectives.flow import Flow, is_conversation, refresh_times
from vismem.objectives.generative import PLAYER
from vismem.random import named_key

CRITIC = "critic"
TEMPERATURE = 0.1  # of the contrastive terms
# Of the words' attention to regions, and of the sum over words (AttnGAN; Xu et al. 2018).
SHARPNESS, EMPHASIS = 4.0, 5.0


@dataclass(eq=False, kw_only=True)
class GAN(Flow):
    """The objective `gan`, with the options of `flow`. A drawing begins as noise, and every
    estimate but the last becomes noise again, less of it each time (`Flow.refresh`): it is this
    noise that chooses what a text leaves open, a little in every step.

    The critic judges what the last step makes of it, and that step alone gets its gradient: the
    first, which knows nothing but the text, would be asked to decide, and decide the same each
    time. What the others need to know, flow's own loss of true pictures teaches (a critic beside a
    loss that keeps few steps on their path, as in Sauer et al. 2023, "Adversarial diffusion
    distillation", where a teacher gives it). On the grid of an autoencoder the critic sees codes,
    never a decoded picture: it is cheaper, and no gradient passes through the decoder.

    Attributes:
      steps: T, of a drawing, in training and ever after.
      flow: weight of flow's loss; 0 spares it, for drawings of one step.
      adversary: the loss of both players.
      penalty: R1 + R2, gamma of R3GAN.
      critic_steps: updates of the critic for each of the generator.
      sentence_contrast, word_contrast: weights of the contrastive terms; 0 spares one. That of the
        words takes memory by the square of the batch.
      diversity: weight of the distance of two drawings of one text; 0 spares the second drawing.
      enough: the distance beyond which more is not paid for, a mean over pixels in [-1, 1] or over
        codes. What vague texts leave open is wanted, but full ones are pushed as well.
      widths: of the critic's maps (models/critic.py).
    """

    steps: int = 4
    flow: float = 40.0
    adversary: Literal["relativistic", "hinge"] = "relativistic"
    penalty: float = 0.1
    critic_steps: int = 1
    sentence_contrast: float = 1.0
    word_contrast: float = 1.0
    diversity: float = 0.0
    enough: float = 0.1
    widths: tuple[int, ...] = (48, 96, 192)
    text_dropout: float = 0.0  # for guidance, which its drawings do without

    chained = True

    def __post_init__(self):
        super().__post_init__()
        if self.steps < 1:
            raise UserError(f"objective.steps={self.steps}: must be at least 1")
        if self.text_dropout:
            raise UserError(
                f"objective.text_dropout={self.text_dropout}: texts are dropped for guidance, "
                "without which gan draws; leave it out"
            )
        if self.steps > 1 and not self.flow > 0:
            raise UserError(
                f"objective.flow={self.flow}: teaches all steps but the last; take more than 0, "
                "or objective.steps=1"
            )
        if self.critic_steps < 1:
            raise UserError(f"objective.critic_steps={self.critic_steps}: must be at least 1")
        if len(self.widths) < 2 or min(self.widths) < 1 or self.codec.size % 2 ** len(self.widths):
            raise UserError(
                f"objective.widths={self.widths}: needs two maps or more, each of half the size of "
                f"the one before, the first of the canvas, {self.codec.size} x {self.codec.size}"
            )
        self.players = (CRITIC,) * self.critic_steps + (PLAYER,)

    @cached_property
    def critic(self) -> Critic:
        dtype = jnp.dtype(self.painter.dtype)
        return Critic(self.text, self.vocab_size, tuple(self.widths), dtype=dtype)

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters {"critic": tree, "generator": tree}, and of an autoencoder, boxed with logical
        axes."""
        if is_conversation(batch):
            raise UserError("objective: gan draws one picture a text; flow learns conversations")

        def once(critic: Critic, tokens: jax.Array) -> Verdict:
            canvas = jnp.zeros((1, *self.shape))
            return critic(canvas, critic.read(tokens).sentence)

        found = self.critic.init(named_key(key, CRITIC), batch["tokens"][:1], method=once)
        return {CRITIC: found["params"], **super().init(key, batch)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a canvas, (H, W, C)."""
        return self.codec.size, self.codec.size, self.codec.channels

    def check_drawing(self, times: np.ndarray, guidance_scale: float) -> None:
        """See `Drawer.check_drawing`."""
        super().check_drawing(times, guidance_scale)
        if not np.array_equal(times, refresh_times(self.steps)):
            raise UserError(
                f"drawing: the critic has judged drawings of {self.steps} steps of the solver "
                f"renoise; take drawing.steps={self.steps}, drawing.solver=renoise"
            )

    def drawings(
        self, params: Params, batch: Batch, key: jax.Array, noise: str = "canvas"
    ) -> jax.Array:
        """Drawings of a batch's texts, [B, H, W, C]; another name of the noise gives others.
        Gradients pass through the last step alone."""
        size, key_noise = len(batch["tokens"]), named_key(key, noise)
        params = params | {PLAYER: self.generator.stacked(params[PLAYER])}
        first = self.apply(params, size, method="begin")
        context = self.encode(params, batch["tokens"], first.estimate, batch.get("text_features"))
        times = jnp.tile(jnp.asarray(refresh_times(self.steps))[:, None], size)

        def step(state: tuple[Carry, jax.Array], now: tuple[jax.Array, ...]) -> tuple[Any, tuple]:
            (carry, canvas), (time, to, key) = state, now
            carry, _ = self.step(params, carry, canvas, time, context)
            estimate = self.clip(carry.estimate)
            return (carry, self.refresh(canvas, estimate, time, to, key)), ()

        state = first, self.start(key_noise, (size, *self.shape))
        if self.steps > 1:
            keys = jax.random.split(named_key(key_noise, "refresh"), self.steps - 1)
            state, _ = scan(step, state, (times[:-2], times[1:-1], keys), loop=self.remat)
        carry, canvas = jax.lax.stop_gradient(state)
        carry, _ = self.step(params, carry, canvas, times[-2], context)
        return carry.estimate

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """A player's loss.

        Args:
          player: "critic" or "generator".
          params: {"critic": tree, "generator": tree}, and of an autoencoder.
          batch: `image` uint8 [B, H, W, C], `tokens` int32 [B, L].
          key: of the noise.

        Returns:
          The loss, and metrics: `adversary` alone; of the critic `penalty`, the squared length of
          its gradient at pictures and drawings; `contrast`, the contrastive terms; of the generator
          `flow`, flow's loss, and if it is paid for it `distance`, of two drawings of one text.
        """
        real, tokens = self.codec.encode(params, batch["image"]), batch["tokens"]
        drawn = self.drawings(params, batch, key)

        def critic(*arguments: jax.Array, method: str = "__call__") -> Reading | Verdict:
            return self.critic.apply({"params": params[CRITIC]}, *arguments, method=method)

        text = critic(tokens, method="read")

        def judge(picture: jax.Array) -> tuple[jax.Array, Verdict]:
            verdict = critic(picture, text.sentence)
            scales = [logits.mean(1) for logits in verdict.logits]
            return sum(scales).sum() / len(scales), verdict

        same = (tokens[:, None] == tokens).all(-1)
        if player == CRITIC:
            to_real, of_real = jax.grad(judge, has_aux=True)(real)
            to_drawn, of_drawn = jax.grad(judge, has_aux=True)(drawn)
            penalty = sum(jnp.square(slope).sum((1, 2, 3)).mean() for slope in (to_real, to_drawn))
            adversary = self.compare(of_real, of_drawn, player)
            contrast = self.contrast(of_real, text, same)
            metrics = {"adversary": adversary, "penalty": penalty, "contrast": contrast}
            return adversary + contrast + self.penalty / 2 * penalty, metrics
        (_, of_real), (_, of_drawn) = judge(real), judge(drawn)
        adversary = self.compare(of_real, of_drawn, player)
        contrast = self.contrast(of_drawn, text, same)
        loss, metrics = adversary + contrast, {"adversary": adversary, "contrast": contrast}
        if self.flow:
            flow, _ = super().loss(player, params, batch, named_key(key, "flow"), train)
            loss += self.flow * flow
            metrics["flow"] = flow
        if self.diversity:
            other = self.drawings(params, batch, key, "other canvas")
            distance = jnp.abs(drawn - other).mean((1, 2, 3))
            # Noises of so many numbers are all as far apart: their distance, in the paper's
            # denominator, is left to the weight.
            loss -= self.diversity * jnp.minimum(distance, self.enough).mean()
            metrics["distance"] = distance.mean()
        return loss, metrics

    def compare(self, real: Verdict, drawn: Verdict, player: str) -> jax.Array:
        """The adversary's loss, the mean over scales and, in each, over patches."""
        losses = []
        for r, d in zip(real.logits, drawn.logits):
            if self.adversary == "relativistic":
                losses.append(jax.nn.softplus(d - r if player == CRITIC else r - d))
            else:
                losses.append(jax.nn.relu(1 - r) + jax.nn.relu(1 + d) if player == CRITIC else -d)
        return sum(loss.mean() for loss in losses) / len(losses)

    def contrast(self, verdict: Verdict, text: Reading, same: jax.Array) -> jax.Array:
        """The weighted contrastive terms of pictures and their texts.

        Args:
          same: bool [B, B], texts that are equal: none is wrong for the other's picture.
        """
        found = jnp.zeros(())
        if self.sentence_contrast:
            sentences = unit(verdict.whole) @ unit(text.sentence).T
            found += self.sentence_contrast * info_nce(sentences, same)
        if self.word_contrast:
            words = word_similarity(verdict.regions, text)
            found += self.word_contrast * info_nce(words, same)
        return found


def word_similarity(regions: jax.Array, text: Reading) -> jax.Array:
    """How well the words of each text are found in the regions of each picture, [B, N].

    A word looks at the regions that resemble it; how well it fits what it sees, softly summed over
    the words, is how well the text does.

    Args:
      regions: [B, P, E]. text: N of them.
    """
    regions, words = unit(regions), unit(text.words)
    alike = jnp.einsum("bpe,nle->bnlp", regions, words)
    seen = jnp.einsum("bnlp,bpe->bnle", jax.nn.softmax(SHARPNESS * alike, axis=-1), regions)
    fits = jnp.einsum("bnle,nle->bnl", unit(seen), words)
    count = jnp.maximum(text.mask.sum(1), 1)
    fits = jnp.where(text.mask, EMPHASIS * fits, -jnp.inf)
    return (jax.nn.logsumexp(fits, axis=-1) - jnp.log(count)) / EMPHASIS


def unit(x: jax.Array) -> jax.Array:
    """Of unit length over the last axis, and zero where it is zero, as in an empty drawing."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-2)


def info_nce(similarity: jax.Array, same: jax.Array) -> jax.Array:
    """Picture i finds text i among all that are not the `same`, and text i picture i: the mean
    cross entropy of both choices (van den Oord et al. 2018).

    Args:
      similarity: [B, B], in [-1, 1]. same: bool [B, B].
    """
    wrong = same & ~jnp.eye(len(same), dtype=bool)
    logits = jnp.where(wrong, -jnp.inf, similarity / TEMPERATURE)
    right = jnp.diagonal(logits)
    rows, columns = jax.nn.logsumexp(logits, axis=1), jax.nn.logsumexp(logits, axis=0)
    return ((rows + columns) / 2 - right).mean()
