"""Pretrained text encoders as parts of a model, and text features that are known already."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.models.generator import Generator, MemoryConfig, PainterConfig, StrategyConfig
from vismem.models.text.pretrained import ENCODERS, PretrainedText
from vismem.registry import build

SIZES = {"vocab_size": 9, "width": 8, "layers": 1, "heads": 2, "hidden": 16}
OPTIONS = {
    "bert": {},
    "clip": {"length": 8},
    "gpt2": {"positions": 8},
    "llama": {"kv_heads": 1, "head_dim": 4, "frequencies": (1.0, 0.1)},
    "t5": {"head_dim": 4},
}


def choice(name):
    return {"name": name, **SIZES, **OPTIONS[name]}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_pretrained_encoder_hears_its_own_ids(name):
    """Ours are one more than the tokenizer's where its padding is not 0; no text is bearable."""
    tokens = jnp.array([[1, 5, 9, 0], [0, 0, 0, 0]])
    ours = PretrainedText(vocab_size=10, folder="", encoder=choice(name), offset=1)
    theirs = build(ENCODERS, choice(name), "text")

    @jax.jit
    def both(key):
        (features, mask), variables = ours.init_with_output(key, tokens)
        inner = {"params": variables["params"]["module"]}
        return features, mask, theirs.apply(inner, jnp.array([[0, 4, 8]])).tokens

    features, mask, reference = both(jax.random.key(0))
    np.testing.assert_array_equal(mask, tokens > 0)
    np.testing.assert_allclose(features[0, :3], reference[0], atol=1e-5)
    assert bool(jnp.isfinite(features).all())


def test_a_tokenizer_of_another_folder_is_named():
    module = PretrainedText(vocab_size=11, folder="x", encoder=choice("bert"), offset=1)
    with pytest.raises(UserError, match=r"text.folder='x': has 9 tokens, but .* has 10"):
        module.init(jax.random.key(0), jnp.ones((1, 2), jnp.int32))


def test_features_that_are_known_spare_the_text_encoder():
    generator = Generator(
        text={"name": "ngrams", "width": 12},
        vision={"name": "patches"},
        fusion={"name": "attention"},
        painter=PainterConfig(width=16, layers=1, heads=2, patch=4),
        memory=MemoryConfig(),
        strategy=StrategyConfig(),
        vocab_size=9,
        size=8,
    )
    tokens = jnp.array([[1, 2, 0], [0, 0, 0]])

    @jax.jit
    def both(key):
        text, variables = generator.init_with_output(key, tokens, method="encode")
        read = lambda model, tokens: model.text_encoder(tokens)[0]  # noqa: E731
        features = generator.apply(variables, tokens, method=read)
        rest = {n: p for n, p in variables["params"].items() if n != "text_encoder"}
        return text, generator.apply({"params": rest}, tokens, None, features, method="encode")

    jax.tree.map(np.testing.assert_array_equal, *both(jax.random.key(0)))
