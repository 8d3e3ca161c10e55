"""The contrastive losses against their definitions, and what near misses do to them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from vismem.errors import UserError
from vismem.objectives.contrastive import PLAYER, Contrastive

TEXT = {"name": "ngrams", "width": 8}
VISION = {"name": "cnn", "widths": (4, 6)}
KEY = jax.random.key(0)


def make(**options):
    return Contrastive(
        **{"text": TEXT, "vision": VISION, "vocab_size": 11, "image_size": 8, "width": 5, **options}
    )


def batch_of(size=6, near_misses=0):
    image = jax.random.randint(KEY, (size, 8, 8, 3), 0, 256).astype(jnp.uint8)
    tokens = jax.random.randint(jax.random.key(1), (size, 1 + near_misses, 4), 1, 11)
    batch = {"image": image, "tokens": tokens[:, 0]}
    return batch | ({"near_miss_tokens": tokens[:, 1:]} if near_misses else {})


def params_of(objective):
    return nn.unbox(jax.jit(objective.init)(KEY, batch_of()))


def loss_of(objective, params, batch):
    return jax.jit(objective.loss, static_argnums=0)(PLAYER, params, batch, KEY)


def cosines(objective, params, batch):
    images = objective.embed_images(params, batch["image"])
    texts = [objective.embed_texts(params, batch["tokens"])]
    for i in range(batch.get("near_miss_tokens", np.zeros((0, 0))).shape[1]):
        texts.append(objective.embed_texts(params, batch["near_miss_tokens"][:, i]))
    return images @ texts[0].T, [(images * t).sum(1) for t in texts[1:]]


def test_softmax_is_the_mean_cross_entropy_both_ways():
    objective, batch = make(), batch_of()
    params = params_of(objective)
    logits = jnp.exp(params[PLAYER]["logit_scale"]) * cosines(objective, params, batch)[0]
    right = jnp.arange(len(logits))
    both = [
        optax.softmax_cross_entropy_with_integer_labels(z, right).mean() for z in (logits, logits.T)
    ]
    loss, _ = loss_of(objective, params, batch)
    np.testing.assert_allclose(loss, sum(both) / 2, rtol=1e-5)


def test_sigmoid_judges_every_pair():
    objective, batch = make(loss="sigmoid"), batch_of()
    params = params_of(objective)
    assert float(params[PLAYER]["logit_bias"]) == -10
    logits = 10 * cosines(objective, params, batch)[0] - 10
    each = optax.sigmoid_binary_cross_entropy(logits, jnp.eye(len(logits)))
    loss, _ = loss_of(objective, params, batch)
    np.testing.assert_allclose(loss, each.sum() / len(logits), rtol=1e-4)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_near_misses_are_more_wrong_texts_of_their_own_picture(loss):
    objective, batch = make(loss=loss), batch_of(near_misses=2)
    params = params_of(objective)
    matching, missed = cosines(objective, params, batch)
    logits = objective.logits(params, jnp.concatenate([matching, jnp.stack(missed, 1)], axis=1))
    size = len(matching)
    right = jnp.arange(size)
    if loss == "softmax":
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        rows, columns = cross_entropy(logits, right), cross_entropy(logits[:, :size].T, right)
        wanted = (rows + columns).mean() / 2
    else:
        each = optax.sigmoid_binary_cross_entropy(logits, jnp.eye(*logits.shape))
        wanted = each.sum() / size
    found, metrics = loss_of(objective, params, batch)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    told = jnp.diag(matching) > jnp.stack(missed).max(0)
    np.testing.assert_allclose(metrics["near_miss"], told.mean())


@pytest.mark.parametrize("near_misses", [0, 2])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_equal_captions_are_not_wrong_for_each_others_pictures(loss, near_misses):
    objective, batch = make(loss=loss), batch_of(near_misses=near_misses)
    number = np.array([0, 1, 0, 2, 1, 0])
    batch["tokens"] = batch["tokens"][number]
    params = params_of(objective)

    right = np.eye(6, 6 + near_misses, dtype=bool)
    counted = right | np.pad(
        number[:, None] != number, ((0, 0), (0, near_misses)), constant_values=True
    )

    def wanted(params):
        matching, missed = cosines(objective, params, batch)
        logits = jnp.concatenate([matching, *(x[:, None] for x in missed)], axis=1)
        logits = objective.logits(params, logits)
        if loss == "sigmoid":
            each = jax.nn.softplus(jnp.where(right, -logits, logits))
            return jnp.where(counted, each, 0).sum() / len(logits)
        rows = jax.nn.logsumexp(logits, axis=1, where=counted)
        columns = jax.nn.logsumexp(logits[:, :6], axis=0, where=counted[:, :6])
        return ((rows + columns) / 2 - jnp.diagonal(logits)).mean()

    def found(params):
        return objective.loss(PLAYER, params, batch, KEY)[0]

    ways = [jax.jit(jax.value_and_grad(f))(params) for f in (wanted, found)]
    for a, b in zip(*map(jax.tree.leaves, ways)):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_known_features_stand_for_their_pictures():
    objective, batch = make(), batch_of()
    params = params_of(objective)
    features = objective.image_features(params, batch["image"])
    known = {"image_features": features, "tokens": batch["tokens"]}
    ways = [loss_of(objective, params, b)[0] for b in (batch, known)]
    np.testing.assert_allclose(*ways, rtol=1e-6)


def test_without_a_head_the_image_encoder_sets_the_width():
    objective = make(head=False)
    params = params_of(objective)
    assert set(params[PLAYER]["image"]) == {"encoder"}
    assert params[PLAYER]["text"]["projection"]["kernel"].shape == (8, VISION["widths"][-1])


def test_crossmodal_towers_reach_their_space_by_perceptrons():
    """Gradient flows through both; padding never changes a text; the default stays linear."""
    objective, batch = make(fusion={"name": "crossmodal"}), batch_of()
    params, plain = params_of(objective), jax.eval_shape(make().init, KEY, batch)[PLAYER]
    for tower in ("image", "text"):
        assert set(params[PLAYER][tower]["projection"]) == {"up", "down", "norm"}
        assert set(plain[tower]["projection"]) == {"kernel"}
    gradient = jax.jit(jax.grad(lambda p: objective.loss(PLAYER, p, batch, KEY)[0]))(params)
    flat = flatten_dict(gradient[PLAYER], sep="/")
    assert all(np.abs(x).max() > 0 for name, x in flat.items() if not name.endswith("embedding"))
    tokens = np.asarray(batch["tokens"]) * [1, 1, 0, 0]
    texts = [objective.embed_texts(params, x) for x in (tokens, tokens[:, :2])]
    np.testing.assert_allclose(*texts, atol=1e-6)


@pytest.mark.parametrize(
    ("fusion", "line"),
    [
        ("attention", r"^fusion\.name='attention': two towers do not see each other; .*crossmodal"),
        ("concat", r"^fusion\.name='concat': two towers do not see each other"),
        ("crossmodel", r"^fusion\.name: unknown name 'crossmodel'; did you mean 'crossmodal'\?"),
    ],
)
def test_fusions_that_towers_cannot_have(fusion, line):
    with pytest.raises(UserError, match=line):
        make(fusion={"name": fusion})
