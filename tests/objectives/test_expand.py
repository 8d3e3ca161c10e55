"""Vague requests and their expansions: source, objective, expander, evaluator."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from vismem import worlds
from vismem.data import DataConfig, pipeline, tokenizers
from vismem.data.expansions import ExpansionSource
from vismem.errors import UserError
from vismem.evaluation.expander import Expander
from vismem.evaluation.expansions import Expansions
from vismem.objectives.expand import PLAYER, Expand

SOURCE = {"name": "expansions", "preset": "tiny", "examples": 50}
T5 = {"name": "t5", "width": 8, "layers": 1, "decoder_layers": 1, "heads": 2, "head_dim": 4}


def make() -> Expand:
    return Expand(text={**T5, "hidden": 16}, vocab_size=257)


def test_a_record_is_a_request_and_a_description_from_which_it_follows():
    source = ExpansionSource("val", 32, preset="tiny", examples=50)
    for i in range(20):
        record = source[i]
        assert record["prompt"] != record["text"]
        assert source.text(i) == f"{record['prompt']}\n{record['text']}"
    with pytest.raises(UserError, match="lang='fr'"):
        ExpansionSource("val", 32, lang="fr")


def test_the_loss_is_that_of_the_descriptions_after_their_requests():
    """It moves with the request, and what comes after the end of a description does not count."""
    expand, tokenizer = make(), tokenizers.ByteTokenizer(96)
    source = ExpansionSource("val", 32, preset="tiny", examples=50)
    data = DataConfig(source=SOURCE, threads=0)
    batch = next(pipeline.batches(data, source, tokenizer, 4, seed=0))
    params = nn.unbox(jax.jit(expand.init)(jax.random.key(0), batch))
    loss = jax.jit(lambda batch: expand.loss(PLAYER, params, batch, jax.random.key(1))[0])
    whole = loss(batch)
    assert np.isfinite(whole)
    other = batch["prompt_tokens"][::-1].copy()
    assert loss({**batch, "prompt_tokens": other}) != whole
    longer = {k: np.pad(batch[k], ((0, 0), (0, 8))) for k in ("prompt_tokens", "tokens")}
    np.testing.assert_allclose(loss(longer), whole, rtol=1e-5)


def test_the_expander_gives_each_request_a_text_the_same_each_time():
    expand, tokenizer = make(), tokenizers.ByteTokenizer(8)
    tokens = np.ones((1, 8), np.int32)
    batch = {"prompt_tokens": tokens, "tokens": tokens}
    params = nn.unbox(jax.jit(expand.init)(jax.random.key(0), batch))
    expander = Expander(expand, tokenizer, params)
    first = expander.expand(["a", "b", "a"], seed=1)
    assert len(first) == 3
    assert first == expander.expand(["a", "b", "a"], seed=1)
    assert first[0] != first[2]
    with pytest.raises(UserError, match="a text is empty"):
        expander.expand([" "])
    with pytest.raises(UserError, match="there is no text"):
        expander.expand([])
    expander._expand = lambda params, tokens, *_: np.zeros_like(tokens)
    assert expander.expand(["a", "b"]) == ["a", "b"]  # nothing was said
    with pytest.raises(UserError, match=r"objective\.name='object'"):
        Expander(object(), tokenizer)


def test_expansions_that_keep_to_their_requests_are_counted():
    data = DataConfig(source=SOURCE)
    evaluator = Expansions(
        objective=make(), tokenizer=tokenizers.ByteTokenizer(96), data=data, seed=0, count=6
    )
    full = {example.text: example.expansion().text for example in evaluator.requests}
    assert len(evaluator.requests) == 6

    class Known:
        def expand(self, texts, **_):
            return [full[text] for text in texts]

    class Echo:
        def expand(self, texts, **_):
            return texts

    evaluator.expander = Known()
    assert evaluator.run({"ema": {}}) == {"test/implied": 1.0, "test/different": 0.25}
    evaluator.expander = Echo()
    assert evaluator.run({"ema": {}})["test/implied"] == 0
    other = worlds.world("tiny").example("test", 0, style="fixed").text
    assert not all(evaluator.implied(other, example) for example in evaluator.requests)


def test_where_two_languages_are_mixed_each_is_counted():
    evaluator = Expansions(
        objective=make(),
        tokenizer=tokenizers.ByteTokenizer(96),
        data=DataConfig(source=SOURCE | {"lang": "mixed"}),
        seed=0,
        count=8,
    )
    known = {r.text: r.expansion().text if r.lang == "zh" else r.text for r in evaluator.requests}
    share = np.mean([r.lang == "zh" for r in evaluator.requests])
    assert 0 < share < 1

    class Chinese:
        def expand(self, texts, **_):
            return [known[text] for text in texts]

    evaluator.expander = Chinese()
    numbers = evaluator.run({"ema": {}})
    assert numbers["test/implied"] == pytest.approx(share)
    assert (numbers["test/implied, zh"], numbers["test/implied, en"]) == (1, 0)
