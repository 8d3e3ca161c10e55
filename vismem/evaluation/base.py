"""What the training loop asks of an evaluator."""

from typing import Any, Protocol

from PIL import Image


class Evaluator(Protocol):
    """Measures a state. A number that reaches a table comes from one of these."""

    def run(self, state: dict[str, Any]) -> dict[str, float | Image.Image]:
        """Name -> number, or a figure as a Pillow image.

        Args:
          state: the train state; what is evaluated is its running average, `state["ema"]`.
        """
