"""The artist: a trained model, its tokenizer and its parameters, drawing texts."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from vismem import registry
from vismem.drawing import DIVERSITY, SOLVERS, sessions, solvers
from vismem.drawing.diversity import PLAIN, Diversity
from vismem.drawing.pull import Pull
from vismem.drawing.scan import Branches, Guidance, draw
from vismem.errors import UserError
from vismem.models.generator import Carry
from vismem.objectives.base import Params
from vismem.random import named_key

BATCH = 128  # Pictures drawn at once: texts come in any number, compiled programs in one size.
# Pixels decoded at once: 16 pictures of 256 px, of which a map of 128 channels, as wide as the last
# of Stable Diffusion's decoder, takes 512 MiB.
PIXELS = 2**20


@dataclass(frozen=True)
class DrawConfig:
    """How a model draws.

    Attributes:
      steps: of the solver. solver: a name of `SOLVERS`.
      guidance_scale, guidance_interval, memory_guidance: see `drawing.scan.Guidance`.
      diversity: `{"name": ..., **options}` of `DIVERSITY`; {} for none.
    """

    steps: int = 24
    solver: str = "euler"
    guidance_scale: float = 2.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    memory_guidance: float = 0.0
    diversity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"drawing.steps={self.steps}: must be at least 1")
        if self.solver not in SOLVERS:
            hint = registry.nearest(self.solver, SOLVERS)
            raise UserError(f"drawing.solver={self.solver!r}: unknown name; {hint}")
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"drawing.guidance_interval={self.guidance_interval}: must be two times in order, "
                "from 0 (noise) to 1"
            )
        make_diversity(self.diversity)


@dataclass(frozen=True)
class Drawing:
    """Pictures, and if asked for, how they came about.

    Attributes:
      images: uint8 [N, H, W, 3].
      carry: what the next turn begins with: memory and picture.
      evaluations: of the network, a picture: in every step one for each branch of guidance. What is
        done once a turn, reading the text and remembering the picture, is not counted.
      pulls: estimates that were pulled.
      estimates: uint8 [T, N, H, W, 3], Y_t of every network evaluation, or None.
      attention: float32 [T, N, K, h, w], of the slots over the patches, or None.
      memory: float32 [T, N, K, D], what the slots held, or None.
    """

    images: np.ndarray
    carry: Carry
    evaluations: int = 0
    pulls: int = 0
    estimates: np.ndarray | None = None
    attention: np.ndarray | None = None
    memory: np.ndarray | None = None


class Artist:
    """Draws texts with an objective's parameters.

    Args:
      objective: one that draws.
      tokenizer: data/tokenizers.py.
      config: how to draw where a call does not say.
      params: {player: tree}; may be given to `draw` instead.
    """

    def __init__(
        self, objective: Any, tokenizer: Any, config: DrawConfig, params: Params | None = None
    ):
        self.objective, self.tokenizer = objective, tokenizer
        self.config, self.params = config, params
        self._compiled: dict[Any, Any] = {}
        self._open = jax.jit(lambda *given: objective.open(*given), static_argnums=2)

    def draw(
        self,
        texts: Sequence[str],
        *,
        seed: int = 0,
        first: int = 0,
        whole: bool = False,
        params: Params | None = None,
        steps: int | None = None,
        solver: str | None = None,
        guidance_scale: float | None = None,
        diversity: Diversity | None = None,
        trace: bool = False,
        carry: Carry | None = None,
        kept: np.ndarray | None = None,
        again: Carry | None = None,
        since: float = 0.0,
        pull: Pull | None = None,
    ) -> Drawing:
        """Draws every text once.

        Args:
          texts: one picture each.
          seed: the same seed and texts give the same pictures.
          first: which one the first is of more texts, of whose pictures these are to be a part; a
            multiple of `BATCH`.
          whole: whether few texts, too, are drawn in a batch of `BATCH`, filled up as the last one
            of many is.
          params: instead of the artist's own.
          steps, solver, guidance_scale, diversity: instead of the config's.
          trace: whether to keep what happened at every step.
          carry: of N conversations, what their turns before left; the texts say what comes next.
          kept: bool [N, H, W], the pixels of the pictures which those left that must stay. They are
            put into every estimate; only a model that has learned from masks is told of them too.
          again: what this same turn left when it was drawn before: it is drawn again from the time
            `since` in [0, 1) on, with that memory, and that picture made as noisy as it was then.
          pull: moves estimates while they are drawn.

        Raises:
          UserError: no text, an empty one, a solver that is unknown or not for the objective, steps
            below 1, guidance that is not finite; a second turn from a model that has not learned
            from conversations; pixels to be kept of no picture; a time outside [0, 1).
        """
        if not len(texts):
            raise UserError("draw: there is no text; say what to draw")
        if any(not text.strip() for text in texts):
            raise UserError("draw: a text is empty; say what to draw")
        steps = self.config.steps if steps is None else steps
        if steps < 1:
            raise UserError(f"draw: steps={steps}: must be at least 1")
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        if not math.isfinite(scale):
            raise UserError(f"draw: guidance={scale}: must be a finite number; 1 for none")
        diversity = diversity or make_diversity(self.config.diversity)
        if not 0 <= since < 1:
            raise UserError(f"draw: since={since}: must be a time from 0 to below 1")
        solver = solver or self.config.solver
        program, done, branches = self._program(steps, solver, scale, diversity, trace, since)
        params = self.params if params is None else params
        if carry is not None and not self.objective.converses(params):
            raise UserError("draw: the run has not learned from conversations; it has no next turn")
        if kept is not None and carry is None:
            raise UserError("draw: kept: there is no picture yet that pixels could be of")
        size = BATCH if whole else min(BATCH, first + len(texts))
        key = named_key(jax.random.key(seed), "draw")
        parts = []
        for start in range(0, len(texts), size):
            # The last chunk is filled up with empty texts: no drawing is driven away from those.
            rows = np.minimum(np.arange(start, start + size), len(texts) - 1)
            count = min(size, len(texts) - start)
            tokens = np.stack([self.tokenizer.encode(texts[row]) for row in rows])
            tokens[count:] = 0
            part = None if kept is None else kept[rows]
            begun = take(carry, rows)
            before, pulled = take(again, rows), pull and pull.replace(wanted=pull.wanted[rows])
            noise = jax.random.fold_in(key, first + start)
            result = program(params, tokens, noise, begun, part, before, pulled)
            pictures, left, seen = jax.device_get(result)
            parts.append((pictures[:count], take(left, np.arange(count)), seen, count))
        counts = done * branches, done * (pull is not None)
        images = to_uint8(np.concatenate([p[0] for p in parts]))
        left = jax.tree.map(lambda *x: np.concatenate(x), *[p[1] for p in parts])
        if not trace:
            return Drawing(images, left, *counts)
        estimates = np.concatenate([s.estimates[:, :n] for *_, s, n in parts], axis=1)
        attention = np.concatenate([s.attention[:, :n] for *_, s, n in parts], axis=1)
        side = round(attention.shape[-1] ** 0.5)
        maps = attention.reshape(*attention.shape[:-1], side, side)
        if not attention.shape[2]:
            return Drawing(images, left, *counts, to_uint8(estimates))
        memory = np.concatenate([s.memory[:, :n] for *_, s, n in parts], axis=1)
        return Drawing(images, left, *counts, to_uint8(estimates), maps, memory)

    def open(self, pictures: np.ndarray, params: Params | None = None) -> Carry:
        """What conversations about given pictures begin with, for `draw`.

        Args:
          pictures: uint8 [N, H, W, 3], of the model's size.
          params: instead of the artist's own.
        """
        params = self.params if params is None else params
        if not self.objective.converses(params):
            raise UserError("open: the run has not learned from conversations; it edits nothing")
        length = len(self.tokenizer.encode("a"))
        seen = pictures.astype(np.float32) / 127.5 - 1
        return jax.device_get(self._open(params, seen, length))

    def session(self, seed: int = 0) -> sessions.Session:
        """A conversation that has yet to begin."""
        return sessions.Session(self, seed)

    def resume(self, path: str | os.PathLike) -> sessions.Session:
        """The conversation that a file of `Session.save` holds."""
        return sessions.load(self, path)

    def _program(
        self, steps: int, solver: str, scale: float, diversity: Diversity, trace: bool, since: float
    ) -> tuple[Any, int, int]:
        """The compiled drawing, one for each way to draw; its steps, and branches of each."""
        way = (steps, solver, scale, diversity, trace, since)
        if way not in self._compiled:
            guidance = Guidance(scale, self.config.guidance_interval, self.config.memory_guidance)
            whole = solvers.make(solver, steps, scale, self.objective)
            schedule = solvers.rest(whole, since)

            def program(
                params: Any, tokens: Any, key: Any, carry: Any, kept: Any, again: Any, pull: Any
            ) -> Any:
                left, seen = draw(
                    *(self.objective, params, tokens, key, schedule, guidance, trace, carry, kept),
                    *(diversity, again, pull and partial(pull, self.objective, params)),
                )
                return pictures(self.objective, params, left.estimate), left, seen

            count = len(schedule.times) - 1
            self._compiled[way] = jax.jit(program), count, Branches(guidance).count
        return self._compiled[way]


def pictures(objective: Any, params: Params, canvases: jax.Array) -> jax.Array:
    """What canvases [N, h, w, C] show, [N, H, W, 3] in [-1, 1], decoded in parts of `PIXELS`."""

    def one(canvas: jax.Array) -> jax.Array:
        return objective.picture(params, canvas[None])[0]

    height, width, _ = jax.eval_shape(one, canvases[0]).shape
    return jax.lax.map(one, canvases, batch_size=max(1, PIXELS // (height * width)))


def make_diversity(choice: Mapping[str, Any]) -> Diversity:
    """What a config or a command chooses; {} is none."""
    return registry.build(DIVERSITY, choice, "drawing.diversity") if choice else PLAIN


def take(carry: Carry | None, rows: np.ndarray) -> Carry | None:
    """The carry of some conversations of many, as numpy arrays."""
    return jax.tree.map(lambda x: np.asarray(x)[rows], carry)


def to_uint8(pictures: np.ndarray) -> np.ndarray:
    """[-1, 1] -> uint8 0..255."""
    return np.round((np.clip(pictures, -1, 1) + 1) * 127.5).astype(np.uint8)
