"""What the training loop and the drawing scan ask of an objective."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Params = Mapping[str, Any]
Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


class Objective(Protocol):
    """What makes a run a flow, a GAN, a masked-token, a contrastive or a captioning run.

    Attributes:
      players: who is trained, in the order of their updates, a name for each update; parameters are
        a dict with one entry a player, and each player's loss moves its own entry only.
    """

    players: tuple[str, ...]

    def init(self, key: jax.Array, batch: Batch) -> Params:
        """Parameters {player: tree}, boxed with their logical axes by flax."""

    def loss(
        self, player: str, params: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, Metrics]:
        """The float32 loss of `player`, and scalars to log: all means over the batch."""


class Drawer(Objective, Protocol):
    """An objective that draws: the scan over drawing steps needs these of it.

    Attributes:
      chained: whether what a step leaves goes to the next step of its turn, or to the next turn
        only.
      redraws: whether `renoise` takes a finished canvas back, to be drawn again from there.
      generator: the model, of which diversity asks whether it has a memory, and is causal.
    """

    chained: bool
    redraws: bool
    generator: Any

    def apply(self, params: Params, *args: Any, method: Any) -> Any:
        """The model's `begin(batch)`, or `remember(carry, picture, context)`: what is done before
        the first turn and after each; or a function of the model."""

    def encode(
        self,
        params: Params,
        tokens: jax.Array,
        before: jax.Array,
        features: jax.Array | None = None,
    ) -> Any:
        """C of a turn, from its text int32 [B, L], the picture that it begins with and, if they are
        given, what takes the place of the text encoder's features, [B, L, E]."""

    def converses(self, params: Params) -> bool:
        """Whether the parameters have learned from conversations: whether there are later turns."""

    def inpaints(self, params: Params) -> bool:
        """Whether the parameters have learned that some pixels of a picture must stay: whether
        what a turn begins with has a channel for them."""

    def check_drawing(self, times: np.ndarray, guidance_scale: float) -> None:
        """UserError if it cannot draw like this, or training has not shown it how.

        Args:
          times: float32 [T + 1], of the steps, then 1.
          guidance_scale: 1 for none.
        """

    def prefill(self, params: Params, carry: Any, canvas: jax.Array, context: Any) -> Any:
        """What every step finds in the `cache` of its carry and leaves there to the next, before
        the first step of a turn, at `canvas`; None for nothing. Args: of the first step."""

    def step(
        self, params: Params, carry: Any, canvas: jax.Array, time: jax.Array, context: Any
    ) -> tuple[Any, jax.Array]:
        """One step: the carry with M_t and Y_{t+1}, and what the slots attended to."""

    def start(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """X_1, the canvas before anything is drawn, of `shape` [B, H, W, C]."""

    def renoise(
        self, canvas: jax.Array, time: jax.Array, to: jax.Array, key: jax.Array
    ) -> jax.Array:
        """Takes a canvas at `time` back to the noisier `to` without adding what it did not know."""

    def settled(self, canvas: jax.Array) -> jax.Array:
        """The estimate of what a finished canvas shows: it is certain."""

    def advance(
        self, canvas: jax.Array, estimate: jax.Array, time: jax.Array, to: jax.Array
    ) -> jax.Array:
        """X_{t+1} from X_t and the estimate Y_{t+1}: the canvas moved from `time` on to `to`."""

    def clip(self, estimate: jax.Array) -> jax.Array:
        """A guided estimate brought back to what an estimate can be."""

    def picture(self, params: Params, canvas: jax.Array) -> jax.Array:
        """What a finished canvas or an estimate shows, [B, H, W, 3] in [-1, 1]."""


def scaled(image: jax.Array) -> jax.Array:
    """uint8 0..255 -> float32 [-1, 1]."""
    return image.astype(jnp.float32) / 127.5 - 1


def fingerprint(params: Params) -> str:
    """A hash of all parameters, their names and types."""
    found = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        array: Any = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]], first: Any, given: Any, loop: bool
) -> tuple[Any, Any]:
    """`jax.lax.scan(step, first, given)`; without `loop` its steps are laid out one by one.

    Not by scan's own `unroll`, which is a loop of one round until late in XLA: on CPUs the
    gradients of convolutions inside a loop do not reach its fast kernels (experiments/RESULTS.md,
    "Encoders to swap").
    """
    if loop:
        return jax.lax.scan(step, first, given)
    leaves, tree = jax.tree.flatten(given)
    carry, found = first, []
    for now in zip(*leaves, strict=True):
        carry, seen = step(carry, tree.unflatten(now))
        found.append(seen)
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *found)
