"""The feedback loop: draw, let a critic score, adjust, until the score passes, stops rising, or the
rounds are up.

How it adjusts is a strategy, a class of `STRATEGIES`. Every text keeps its best drawing, so that
its score never falls. What a picture costs is counted in passes through the networks: the
generator's, and the critic's image tower's.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from flax import struct

from vismem.drawing.artist import Artist, Drawing
from vismem.drawing.pull import Pull
from vismem.drawing.sessions import turn_seed
from vismem.errors import UserError
from vismem.models.generator import Carry
from vismem.worlds import clauses

log = logging.getLogger(__name__)

BACKWARD = 3  # passes that a gradient counts as: one forward, and twice its work backward


class Critic(Protocol):
    """What scores drawings, as `evaluation.critic.Critic` does: by the cosine of embeddings.

    Attributes:
      params: of its networks.
    """

    params: Any

    def images(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of pictures uint8 [H, W, 3] each, of unit length: float32 [N, E]."""

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """The same of texts."""

    def cosines(self, params: Any, wanted: jax.Array, pictures: jax.Array) -> jax.Array:
        """Of embeddings [N, E] with pictures float32 [N, H, W, 3] in [-1, 1], [N]: a pure function
        that can be differentiated."""


@dataclass(frozen=True)
class Task:
    """What stays the same from round to round.

    Attributes:
      texts: N of them. wanted: the critic's embeddings of their captions, [N, E].
      seed: of the first round's noise. how: of `Artist.draw`.
    """

    artist: Artist
    critic: Critic
    texts: Sequence[str]
    wanted: np.ndarray
    seed: int
    how: dict[str, Any]

    def draw(self, number: int, texts: Sequence[str] | None = None, **how: Any) -> Drawing:
        """Draws all texts, or others for them, with the noise of round `number`, from 0."""
        seed = turn_seed(self.seed, number) if number else self.seed
        return self.artist.draw(texts or self.texts, seed=seed, **self.how, **how)


@struct.dataclass
class Best:
    """The best drawings after a round, and what they have cost.

    Attributes:
      images: uint8 [N, H, W, 3]. carry: what they left.
      seen: the critic's embeddings of them, [N, E]. scores: float32 [N].
      drawn: bool [N], whether the round drew the text at all: whether it had not stopped.
      evaluations, judgements: int [N], passes through the generator and through the critic's image
        tower up to now.
    """

    images: np.ndarray
    carry: Carry
    seen: np.ndarray
    scores: np.ndarray
    drawn: np.ndarray
    evaluations: np.ndarray
    judgements: np.ndarray


class Strategy(Protocol):
    """How a drawing is adjusted.

    Attributes:
      independent: whether one round says nothing of the next, so that one which raises no score is
        no reason to stop.
    """

    independent: bool

    def check(self, artist: Artist) -> None:
        """UserError if the artist's model cannot be drawn with like this."""

    def draw(self, task: Task, best: Best, number: int) -> Drawing:
        """Draws all texts once more, in round `number`, from 1."""


@dataclass(frozen=True)
class BestOfN:
    """Draws anew, with other noise."""

    independent = True

    def check(self, artist: Artist) -> None:
        pass

    def draw(self, task: Task, best: Best, number: int) -> Drawing:
        return task.draw(number)


@dataclass(frozen=True)
class Redraw:
    """Makes the best drawing noisy again and draws on from there, with the memory of it or,
    with a warning, without it, where memory has not learned to go along (`objective.unroll=1`).

    Attributes:
      since: the time in [0, 1) from which it is drawn again: 0 leaves nothing of the picture, and
        near 1 all of it.
    """

    since: float = 0.4
    independent = False

    def check(self, artist: Artist) -> None:
        if not artist.objective.redraws:
            raise UserError(
                "feedback: redraw: the run's objective takes no drawing back to noise; "
                "take best_of_n or gradient"
            )
        if not artist.objective.chained:
            log.warning(
                "feedback: redraw: the run has learned to carry no memory from step to step, so "
                "that drawings are taken up again without it"
            )

    def draw(self, task: Task, best: Best, number: int) -> Drawing:
        return task.draw(number, again=best.carry, since=self.since)


@dataclass(frozen=True)
class Gradient:
    """Draws from the same noise, every estimate pulled up the critic's gradient; twice as strongly
    in every round.

    Attributes:
      strength: of the first pull (drawing/pull.py).
    """

    strength: float = 0.05
    independent = False

    def check(self, artist: Artist) -> None:
        if hasattr(artist.objective, "reveal"):
            raise UserError(
                "feedback: gradient: the run draws tokens, which have none; "
                "take best_of_n or redraw"
            )

    def draw(self, task: Task, best: Best, number: int) -> Drawing:
        critic, strength = task.critic, self.strength * 2 ** (number - 1)
        return task.draw(0, pull=Pull(critic.cosines, critic.params, task.wanted, strength))


@dataclass(frozen=True)
class Correct:
    """Says what is wrong, as the next turn of the conversation: of the text's clauses the one that
    the critic finds least of in the best drawing."""

    independent = False

    def check(self, artist: Artist) -> None:
        if not artist.objective.converses(artist.params):
            raise UserError(
                "feedback: correct: the run has not learned from conversations; "
                "take best_of_n, redraw or gradient"
            )

    def draw(self, task: Task, best: Best, number: int) -> Drawing:
        parts = [clauses.clauses(text) for text in task.texts]
        ends = np.cumsum([len(part) for part in parts])[:-1]
        found = np.split(task.critic.texts([clause for part in parts for clause in part]), ends)
        failed = [int((f @ seen).argmin()) for f, seen in zip(found, best.seen)]
        said = [clauses.wanted(part[worst]) for part, worst in zip(parts, failed)]
        return task.draw(number, said, carry=best.carry)


def improve(
    artist: Artist,
    critic: Critic,
    texts: Sequence[str],
    strategy: Strategy,
    *,
    rounds: int = 4,
    threshold: float = 1.0,
    seed: int = 0,
    **how: Any,
) -> list[Best]:
    """Draws every text until the critic is content with it.

    A text stops when its score reaches the threshold; when a round did not raise it, unless rounds
    are independent; and after `rounds` of them. The rest is drawn on, all in one batch, which
    stopped texts fill up, at no cost in the count: what is drawn of a text does not depend on how
    the others fare.

    Args:
      rounds: the most drawings of a text; the first is as `artist.draw` makes it with the seed.
      threshold: a cosine; 1 is content with nothing.
      **how: of `Artist.draw`: steps, solver, guidance_scale.

    Returns:
      The best after every round; the last holds the results.

    Raises:
      UserError: rounds below 1, a threshold that is no cosine, or a model that the strategy is not
        for.
    """
    if rounds < 1:
        raise UserError(f"feedback: rounds={rounds}: must be at least 1")
    if not -1 <= threshold <= 1:
        raise UserError(f"feedback: threshold={threshold}: must be a cosine, from -1 to 1")
    strategy.check(artist)
    wanted = critic.texts([clauses.caption(text) for text in texts])
    task = Task(artist, critic, texts, wanted, seed, how)
    found = [_judged(task, task.draw(0))]
    going = found[0].scores < threshold
    while going.any() and len(found) < rounds:
        best = found[-1]
        new = _judged(task, strategy.draw(task, best, len(found)))
        better = going & (new.scores > best.scores)
        kept = _where(better, new, best).replace(
            drawn=going,
            evaluations=best.evaluations + going * new.evaluations,
            judgements=best.judgements + going * new.judgements,
        )
        found.append(kept)
        going = going & (kept.scores < threshold) & (better | strategy.independent)
    return found


def account(rounds: Sequence[Best], texts: Sequence[str]) -> list[str]:
    """A line a text: what its score was and became, and what that took."""
    first, last = rounds[0], rounds[-1]
    drawings = sum(best.drawn.astype(int) for best in rounds)
    return [
        f"{text}: {first.scores[i]:.3f} -> {last.scores[i]:.3f}, drawings: {drawings[i]}, passes: "
        f"{last.evaluations[i]} of the generator, {last.judgements[i]} of the critic"
        for i, text in enumerate(texts)
    ]


def _where(rows: np.ndarray, new: Best, old: Best) -> Best:
    """The new of some rows, bool [N], and the old of the rest."""

    def each(n: np.ndarray, o: np.ndarray) -> np.ndarray:
        return np.where(rows.reshape(-1, *[1] * (n.ndim - 1)), n, o)

    return jax.tree.map(each, new, old)


def _judged(task: Task, drawing: Drawing) -> Best:
    """A round by itself."""
    seen = task.critic.images(drawing.images)
    every = np.ones(len(seen), int)
    return Best(
        images=drawing.images,
        carry=drawing.carry,
        seen=seen,
        scores=(seen * task.wanted).sum(1),
        drawn=every > 0,
        evaluations=drawing.evaluations * every,
        judgements=(1 + BACKWARD * drawing.pulls) * every,
    )
