"""Flow over the turns of a conversation: what goes from turn to turn, and what does not."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.data import DataConfig, pipeline, source, tokenizers
from vismem.drawing.artist import Artist, DrawConfig
from vismem.models.generator import MemoryConfig, PainterConfig, StrategyConfig
from vismem.objectives.flow import PLAYER, Flow

KEY = jax.random.key(0)


def make_flow(**memory) -> Flow:
    return Flow(
        text={"name": "transformer", "width": 16, "layers": 1, "heads": 2},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter=PainterConfig(width=16, layers=1, heads=2, patch=4),
        memory=MemoryConfig(**{"slots": 3, **memory}),
        strategy=StrategyConfig(enabled=memory.get("enabled", True)),
        vocab_size=11,
        image_size=8,
    )


def make_batch(turns: int = 3, size: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (size, turns, 8, 8, 3)).astype(np.uint8),
        "tokens": rng.integers(1, 11, (size, turns, 5)).astype(np.int32),
        "mask": np.ones((size, turns), bool),
    }


def make_params(flow: Flow):
    """Parameters with nothing at zero."""
    params = nn.unbox(jax.jit(flow.init)(KEY, make_batch()))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return tree.unflatten([x + 0.1 * rng.standard_normal(x.shape, np.float32) for x in leaves])


def last_turns_loss(flow: Flow, params) -> Callable[[dict], float]:
    """Of a batch, the loss of the last turn alone; its noise is the same whatever was said
    before."""

    @jax.jit
    def loss(batch):
        last = jnp.zeros_like(batch["mask"]).at[:, -1].set(True)
        return flow.loss(PLAYER, params, {**batch, "mask": last}, KEY, train=False)[0]

    return lambda batch: float(loss(batch))


def said_otherwise(batch, turn: int):
    """The batch with another text in one turn."""
    tokens = batch["tokens"].copy()
    tokens[:, turn] = tokens[:, turn] % 10 + 1
    return {**batch, "tokens": tokens}


@pytest.mark.parametrize(
    ("memory", "heard"),
    [
        ({}, (True, True)),
        ({"places": True}, (True, True)),
        ({"enabled": False}, (False, False)),
        ({"writes": "first turn"}, (True, False)),
    ],
)
def test_what_was_said_is_known_later_by_memory_alone(memory, heard):
    """Whether the third turn depends on the words of the first and of the second."""
    flow, batch = make_flow(**memory), make_batch()
    loss = last_turns_loss(flow, make_params(flow))
    truth = loss(batch)
    assert tuple(loss(said_otherwise(batch, i)) != truth for i in (0, 1)) == heard


def test_without_memory_the_canvas_is_still_seen():
    flow, batch = make_flow(enabled=False), make_batch()
    loss = last_turns_loss(flow, make_params(flow))
    other = {**batch, "image": batch["image"].copy()}
    other["image"][:, 1] = 0
    assert loss(other) != loss(batch)


def test_turns_that_are_not_there_do_not_count():
    flow, batch = make_flow(), make_batch()
    params = make_params(flow)
    batch["mask"][1:, 2] = False
    other = {name: x.copy() for name, x in batch.items()}
    other["image"][1:, 2], other["tokens"][1:, 2] = 255, 0
    loss = jax.jit(lambda batch: flow.loss(PLAYER, params, batch, KEY, train=False)[0])
    assert loss(batch) == loss(other)
    # A short conversation weighs as much as a long one, whatever batch it is in.
    batch["mask"][1:, 1] = False
    alone = [{**batch, "mask": batch["mask"] & (np.arange(3) == i)} for i in range(3)]
    for one in alone:
        one["mask"][1:] = batch["mask"][1:]
    np.testing.assert_allclose(loss(batch), np.mean([loss(one) for one in alone]), rtol=1e-5)


def test_the_gradient_goes_back_through_all_turns():
    """The last turn's loss moves with what memory was first."""
    flow, batch = make_flow(), make_batch()
    params = make_params(flow)
    gradient = jax.jit(jax.grad(lambda p, batch: flow.loss(PLAYER, p, batch, KEY)[0]))
    found = gradient(params, batch)[PLAYER]["f"]
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(jax.device_get(found)))
    batch["mask"][:, :2] = False  # of no other turn
    assert jnp.abs(gradient(params, batch)[PLAYER]["f"]["first"]).max() > 1e-7


def test_turns_change_run_time_and_no_program():
    flow = make_flow()
    params = make_params(flow)

    def equations(turns):
        program = jax.make_jaxpr(lambda p, b: flow.loss(PLAYER, p, b, KEY))
        return str(program(params, make_batch(turns))).count(" = ")

    assert equations(2) == equations(6)


def test_the_artist_draws_a_conversation_turn_by_turn():
    """The second turn depends on the first; and a conversation branches where its carry is kept."""
    flow = make_flow()
    words = type("Words", (), {"encode": lambda self, text: np.full(5, len(text) % 11, np.int32)})()
    artist = Artist(flow, words, DrawConfig(steps=2), make_params(flow))
    one, other = artist.draw(["a", "bb"]), artist.draw(["ccc", "bb"])
    np.testing.assert_array_equal(one.carry.memory[1], other.carry.memory[1])
    then = [artist.draw(["dddd", "dddd"], carry=first.carry).images for first in (one, other)]
    assert (then[0][0] != then[1][0]).any()
    np.testing.assert_array_equal(then[0][1], then[1][1])
    again = artist.draw(["dddd", "dddd"], carry=one.carry).images
    np.testing.assert_array_equal(again, then[0])


def test_batches_of_conversations():
    config = DataConfig(
        source={"name": "dialogue", "preset": "tiny", "examples": 8}, size=32, threads=0
    )
    records = source(config, "train")
    tokenizer = tokenizers.make({"name": "byte", "length": 64}, records)
    batches = pipeline.batches(config, records, tokenizer, 4, seed=0, train=False)
    batch = next(batches)
    batches.close()
    assert batch["image"].shape == (4, 8, 32, 32, 3)
    assert batch["tokens"].shape == (4, 8, 64)
    assert batch["needs_memory"].dtype == bool
    np.testing.assert_array_equal(batch["tokens"].any(-1), batch["mask"])
    turns = [len(records.text(i).splitlines()) for i in range(4)]
    np.testing.assert_array_equal(batch["mask"].sum(1), turns)
