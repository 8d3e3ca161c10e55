"""Pictures as a pretrained model expects them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vismem.errors import UserError
from vismem.pretrained.checkpoint import find

Processor = Callable[[Sequence[np.ndarray]], np.ndarray]


def processor(folder: str | Path) -> Processor:
    """The preprocessing (resizing, cropping, scaling) that a model's folder has for pictures.

    Args:
      folder: of the model, or a name on the Hugging Face Hub.

    Returns:
      A function of pictures, each uint8 [H, W, 3] of any size, to float32 [B, H', W', 3].

    Raises:
      UserError: the folder names no preprocessing that transformers has.
    """
    folder = find(folder)
    from transformers import AutoImageProcessor

    try:
        process = AutoImageProcessor.from_pretrained(os.fspath(folder), backend="pil")
    except Exception as error:  # transformers raises several kinds
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{folder}: has no preprocessing of pictures in processor_config.json or "
            f"preprocessor_config.json ({reason})"
        ) from None

    def run(pictures: Sequence[np.ndarray]) -> np.ndarray:
        values = process(list(pictures), return_tensors="np", input_data_format="channels_last")
        return np.ascontiguousarray(values["pixel_values"].transpose(0, 2, 3, 1), np.float32)

    return run
