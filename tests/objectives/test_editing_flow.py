"""Flow where a turn leaves another picture than its own, keeps pixels, or begins with a picture."""

import jax
import numpy as np
import pytest
from flax.linen import unbox

from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig
from vismem.objectives.flow import PLAYER, Flow

KEY = jax.random.key(0)


def make_flow(memory: bool) -> Flow:
    return Flow(
        text={"name": "transformer", "width": 8, "layers": 1, "heads": 2},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter=PainterConfig(width=8, layers=1, heads=2, patch=4),
        memory=MemoryConfig(enabled=memory, slots=2),
        strategy=StrategyConfig(enabled=memory),
        vocab_size=11,
        image_size=8,
        own=1.0,
        unroll=1,
    )


def make_batch(turns: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, turns, 8, 8, 3)).astype(np.uint8)
    return {
        "image": image,
        "tokens": rng.integers(1, 11, (2, turns, 5)).astype(np.int32),
        "mask": np.ones((2, turns), bool),
        "left": image.copy(),
        "first": image[:, 0].copy(),
        "kept": np.zeros((2, turns, 8, 8), bool),
    }


def loss_of(flow: Flow, batch):
    """A function of batches like this one: the training loss with parameters that are not zero."""
    shapes = unbox(jax.eval_shape(flow.init, KEY, batch))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape).astype(x.dtype), shapes)
    compiled = jax.jit(lambda batch: flow.loss(PLAYER, params, batch, KEY)[0])
    return lambda **changes: float(compiled({**batch, **changes}))


def test_what_is_to_be_put_right_is_shown_and_not_what_the_model_drew():
    """Without memory the words of one turn reach the next by the picture alone."""
    batch = make_batch(turns=2)
    flow, last = make_flow(memory=False), np.array([[False, True]] * 2)
    loss = loss_of(flow, batch)
    said = np.where(last[..., None], batch["tokens"], batch["tokens"] % 10 + 1)
    assert loss(mask=last, tokens=said) != loss(mask=last)  # own=1: its own drawing
    left = batch["left"].copy()
    left[:, 0] = 255 - left[:, 0]
    assert loss(mask=last, left=left, tokens=said) == loss(mask=last, left=left)
    assert loss(mask=last, left=left) != loss(mask=last, left=255 - left)


@pytest.mark.parametrize("name", ["first", "kept"])
def test_a_turn_depends_on_what_it_begins_with_and_must_keep(name):
    batch = make_batch(turns=1)
    loss = loss_of(make_flow(memory=True), batch)
    other = ~batch[name] if batch[name].dtype == bool else 255 - batch[name]
    assert loss(**{name: other}) != loss()


def test_memory_has_read_the_picture_that_a_conversation_is_about():
    flow, batch = make_flow(memory=True), make_batch(turns=1)
    shapes = unbox(jax.eval_shape(flow.init, KEY, batch))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape).astype(x.dtype), shapes)
    pictures = rng.uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    carry = jax.jit(lambda x: flow.open(params, x, 5))(pictures)
    np.testing.assert_array_equal(carry.estimate, pictures)
    assert np.abs(carry.memory[0] - carry.memory[1]).max() > 1e-3


def test_models_that_know_no_masks_have_no_parameters_for_them():
    batch = make_batch(turns=1)
    with_masks = jax.eval_shape(make_flow(memory=True).init, KEY, batch)[PLAYER]
    del batch["kept"], batch["first"], batch["left"]
    without = jax.eval_shape(make_flow(memory=True).init, KEY, batch)[PLAYER]
    assert with_masks.keys() - without.keys() == {"kept"}
