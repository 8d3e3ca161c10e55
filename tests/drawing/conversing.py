"""A small artist with random parameters that draws conversations and knows masks."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np

from vismem.drawing.artist import Artist, DrawConfig
from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig
from vismem.objectives.flow import Flow

SIZE = 8


def make_artist(seed: int, masks: bool = True, size: int = SIZE) -> Artist:
    """Of a seed of its parameters."""
    flow = Flow(
        text={"name": "transformer", "width": 8, "layers": 1, "heads": 2},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter=PainterConfig(width=8, layers=1, heads=2, patch=4),
        memory=MemoryConfig(slots=3),
        strategy=StrategyConfig(),
        vocab_size=11,
        image_size=size,
    )
    batch = {
        "image": np.zeros((1, 1, size, size, 3), np.uint8),
        "tokens": np.zeros((1, 1, 5), np.int32),
        "mask": np.ones((1, 1), bool),
        "kept": np.zeros((1, 1, size, size), bool),
    }
    if not masks:
        del batch["kept"]
    shapes = nn.unbox(jax.eval_shape(flow.init, jax.random.key(0), batch))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape).astype(x.dtype), shapes)

    def encode(text):
        return np.frombuffer(text.encode().ljust(5)[:5], np.uint8).astype(np.int32) % 10 + 1

    return Artist(flow, SimpleNamespace(encode=encode), DrawConfig(steps=2), params)
