"""The caption objective: what its loss counts, what it sees, and that it learns."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from vismem.data.tokenizers import ByteTokenizer
from vismem.errors import UserError
from vismem.evaluation.reader import Reader
from vismem.models.decoding import Decoding
from vismem.objectives.caption import Caption

SIZE = 16
VISION = {
    **{"name": "vit", "patch": 8, "width": 16, "layers": 1, "heads": 2, "hidden": 32},
    "pool": "mean",
}
TEXT = {
    **{"name": "t5", "width": 16, "layers": 1, "decoder_layers": 1, "heads": 2, "head_dim": 8},
    "hidden": 32,
}


def objective(**options):
    made = {"vision": VISION, "text": TEXT, "vocab_size": 11, "image_size": SIZE}
    return Caption(**{**made, **options})


BATCH = {
    "image": np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8),
    "tokens": np.array([[4, 2, 0, 0], [3, 0, 0, 0], [5, 6, 7, 8]], np.int32),
    "prompt_tokens": np.array([[1, 2, 0], [3, 0, 0], [1, 2, 3]], np.int32),
}
MODEL = objective()


def parameters(model, batch):
    return jax.jit(lambda key: nn.unbox(model.init(key, batch)))(jax.random.key(0))


def logits(params, batch, before, model=MODEL):
    image = model.seen(jnp.asarray(batch["image"]))
    variables = {"params": params["captioner"]}
    return model.captioner.apply(variables, image, batch["prompt_tokens"], before)


@pytest.fixture(scope="module")
def params():
    return parameters(MODEL, BATCH)


def test_a_width_without_places_for_patches_is_named():
    model = objective(text=TEXT | {"width": 90})
    with pytest.raises(UserError, match=r"text\.width=90: must be a multiple of 4"):
        jax.eval_shape(lambda key: model.init(key, BATCH), jax.random.key(0))


def test_the_loss_is_the_cross_entropy_up_to_the_end_of_each_text(params):
    loss = jax.jit(lambda params, batch: MODEL.loss("captioner", params, batch, None))
    found, metrics = loss(params, BATCH)
    before = np.array([[0, 4, 2, 0], [0, 3, 0, 0], [0, 5, 6, 7]])
    rows = np.asarray(jax.jit(logits)(params, BATCH, before), np.float64)
    rows -= np.log(np.exp(rows).sum(-1, keepdims=True))
    ends = (3, 2, 4)  # the first padding included; the last text fills its row
    terms = [rows[i, j, BATCH["tokens"][i, j]] for i, end in enumerate(ends) for j in range(end)]
    np.testing.assert_allclose(found, -np.mean(terms), rtol=1e-5)
    assert metrics["exact"] == 0
    # More padding after texts that have ended is nothing.
    short = {**BATCH, "tokens": BATCH["tokens"] * (BATCH["tokens"] < 5)}
    wide = {**short, "tokens": np.pad(short["tokens"], ((0, 0), (0, 3)))}
    np.testing.assert_allclose(loss(params, wide)[0], loss(params, short)[0], rtol=1e-5)


def test_greedy_texts_are_the_likeliest_tokens(params):
    """Token by token with a cache, and all at once."""
    image, prompt = BATCH["image"], BATCH["prompt_tokens"]
    made = jax.jit(lambda params: MODEL.generate(params, image, prompt, Decoding(5)))(params)
    before = np.pad(made, ((0, 0), (1, 0)))[:, :-1]
    likeliest = jax.jit(logits)(params, BATCH, before).argmax(-1)
    for text, best in zip(np.asarray(made), np.asarray(likeliest)):
        end = [*text, 0].index(0) + 1
        np.testing.assert_array_equal(text[:end], best[:end])
        assert not text[end:].any()


def test_what_is_seen(params):
    """Picture and prompt count, a prompt's padding does not; a blind model sees no picture."""
    prompt = BATCH["prompt_tokens"]
    other = {**BATCH, "image": 255 - BATCH["image"]}
    asked = {**BATCH, "prompt_tokens": (prompt + 1) * (prompt > 0)}
    padded = {**BATCH, "prompt_tokens": np.pad(prompt, ((0, 0), (0, 2)))}
    before, blind = np.zeros((3, 1), np.int32), objective(blind=True)

    @jax.jit
    def read(params):
        plain = [logits(params, batch, before) for batch in (BATCH, other, asked, padded)]
        return plain, [logits(params, batch, before, blind) for batch in (BATCH, other)]

    (plain, *changed, same), unseen = jax.device_get(read(params))
    assert all(np.abs(plain - x).max() > 1e-3 for x in changed)
    np.testing.assert_allclose(plain, same, atol=1e-5)
    np.testing.assert_array_equal(*unseen)


def test_attention_is_as_without_a_choice(params):
    same = parameters(objective(fusion={"name": "attention"}), BATCH)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    assert objective(fusion={"name": "attention"}).captioner == MODEL.captioner


@pytest.mark.parametrize("name", ["concat", "crossmodal"])
def test_a_prompt_folded_into_the_patches(name):
    """It counts, its padding does not, one without words is definite, and gradient reaches all."""
    model, rng = objective(fusion={"name": name}), np.random.default_rng(0)
    prompt = BATCH["prompt_tokens"] * [[1], [1], [0]]
    batch, before = {**BATCH, "prompt_tokens": prompt}, np.zeros((3, 1), np.int32)
    shapes = nn.unbox(jax.eval_shape(model.init, jax.random.key(0), batch))
    params = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape, np.float32), shapes)
    assert "asked" not in params["captioner"]
    assert model.answers(params)

    @jax.jit
    def read(params, prompt):
        return logits(params, {**batch, "prompt_tokens": prompt}, before, model)

    plain, padded = read(params, prompt), read(params, np.pad(prompt, ((0, 0), (0, 2))))
    other = read(params, (prompt + 1) * (prompt > 0))
    np.testing.assert_allclose(plain, padded, atol=1e-5)
    assert np.isfinite(plain).all()
    assert np.abs(plain - other).max((1, 2)).min(initial=1, where=[True, True, False]) > 1e-3

    loss = lambda params: model.loss("captioner", params, batch, None)[0]  # noqa: E731
    flat = flatten_dict(jax.jit(jax.grad(loss))(params)["captioner"], sep="/")
    kernels = [name for name in flat if name.endswith("kernel")]
    assert any(name.startswith("fusion/") for name in kernels)
    assert all(np.abs(flat[name]).max() > 0 for name in kernels)


def test_a_model_knows_whether_it_answers(params):
    assert MODEL.answers(params)
    captions = {k: v for k, v in BATCH.items() if k != "prompt_tokens"}
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), captions)
    assert not MODEL.answers(shapes)
    with pytest.raises(UserError, match="answers no questions"):
        Reader(MODEL, ByteTokenizer(5), shapes).read(BATCH["image"], ["a", "b", "c"])


def test_it_learns_what_it_is_shown_and_the_reader_says_it():
    images = np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    prompts, texts = [f"{i % 2}?" for i in range(4)], ["two", "a", "bee", "four"]
    tokenizer = ByteTokenizer(5)
    model = objective(vocab_size=tokenizer.vocab_size)
    batch = {
        "image": images,
        "tokens": np.stack([tokenizer.encode(text) for text in texts]),
        "prompt_tokens": np.stack([tokenizer.encode(prompt) for prompt in prompts]),
    }
    params = parameters(model, batch)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def train(params, moments):
        def step(carry, _):
            params, moments = carry
            loss = lambda params: model.loss("captioner", params, batch, None)[0]  # noqa: E731
            updates, moments = optimizer.update(jax.grad(loss)(params), moments)
            return (optax.apply_updates(params, updates), moments), None

        return jax.lax.scan(step, (params, moments), length=80)[0][0]

    reader = Reader(model, tokenizer, train(params, optimizer.init(params)))
    assert reader.read(images, prompts) == texts
    assert reader.read(images[:3], prompts[:3], beams=2) == texts[:3]
    with pytest.raises(UserError, match="answer questions; ask it"):
        reader.read(images)
    with pytest.raises(UserError, match="question is empty"):
        reader.read(images, ["", "a", "b", "c"])


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"objective\.length=-1"):
        objective(length=-1)
    with pytest.raises(UserError, match=r"text\.name: unknown name 't6'"):
        objective(text={**TEXT, "name": "t6"})
    with pytest.raises(UserError, match=r"fusion\.name: unknown name 'concut'; did you mean 'conc"):
        objective(fusion={"name": "concut"})
    with pytest.raises(UserError, match=r"text: .*hidden"):
        objective(text={k: v for k, v in TEXT.items() if k != "hidden"})
    with pytest.raises(UserError, match="reads no pictures"):
        Reader(object(), ByteTokenizer(5))
