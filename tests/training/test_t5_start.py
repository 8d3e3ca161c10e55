"""Captioners and expanders that begin with the weights of a T5, which are then needed no more."""

import json
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from vismem import config as configs
from vismem import worlds
from vismem.data import tokenizers
from vismem.errors import UserError
from vismem.pretrained import checkpoint
from vismem.training import run
from vismem.training.export import export
from vismem.training.loop import train

T5 = {
    **{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "vocab_size": 30},
    **{"d_model": 8, "d_ff": 16, "d_kv": 4, "num_heads": 2, "num_layers": 1},
    **{"num_decoder_layers": 1, "feed_forward_proj": "relu", "decoder_start_token_id": 0},
    **{"pad_token_id": 0, "eos_token_id": 1},
}


@pytest.fixture
def t5(tmp_path):
    """A tiny T5 as Hugging Face writes it, more rows in its table than tokens; its parameters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path / "t5"
    words = ["<pad>", "</s>", "<unk>", *worlds.world("tiny").example("train", 0).text.split()]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(words))}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(str(folder))
    (folder / "config.json").write_text(json.dumps(T5))
    config = checkpoint.read_config(folder) | {"tied_head": True}
    (folder / "config.json").unlink()
    module, ids = checkpoint.family_of(config).module(config), jnp.ones((1, 2), jnp.int32)
    params = jax.jit(lambda key: nn.unbox(module.init(key, ids, ids))["params"])(jax.random.key(7))
    checkpoint.export(folder, config, params)
    return folder, params


def settings(folder):
    return ConfigDict(
        {
            "batch_size": 4,
            "steps": 1,
            "ema": 0.0,
            "data": {
                "source": {"name": "world", "preset": "tiny"},
                "tokenizer": {"name": "byte", "length": 6},
            },
            "objective": {"name": "caption"},
            "vision": {"name": "cnn", "widths": (4, 4, 4)},
            "text": {"name": "t5", "folder": str(folder)},
            "optimizer": {"name": "sgd", "lr": 0.1, "freeze": (("text_model/", True),)},
        }
    )


def config(folder):
    return configs.run_config(settings(folder))


@pytest.mark.slow
def test_a_captioner_begins_with_a_t5(t5, tmp_path):
    folder, params = t5
    made = config(folder)
    train(made, tmp_path / "run")
    shutil.rmtree(folder)
    state = run.restore(made, tmp_path / "run")[-1]
    jax.tree.map(np.testing.assert_array_equal, state["ema"]["captioner"]["text_model"], params)
    configs.write(settings(folder), tmp_path / "run")
    export(tmp_path / "run", tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.config["architectures"] == T5["architectures"]
    jax.tree.map(np.testing.assert_array_equal, again.params, params)
    assert tokenizers.PretrainedTokenizer(str(tmp_path / "out"), 6).words()["<pad>"] == 0


@pytest.mark.slow
def test_an_expander_begins_with_a_t5(t5, tmp_path):
    folder, params = t5
    file = settings(folder)
    file.data.source.name, file.objective.name = "expansions", "expand"
    file.optimizer.freeze = (("text_model/encoder/", True),)
    made = configs.run_config(file)
    train(made, tmp_path / "run")
    shutil.rmtree(folder)
    trained = run.restore(made, tmp_path / "run")[-1]["ema"]["expander"]["text_model"]
    jax.tree.map(np.testing.assert_array_equal, trained["encoder"], params["encoder"])
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), trained, params)
    assert 0 < max(jax.tree.leaves(moved["decoder"])) < 0.2  # it learned, from where the T5 was
    configs.write(file, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "out")
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load(tmp_path / "out").params, trained)


def test_an_encoder_alone_is_refused(t5, tmp_path):
    folder, _ = t5
    described = json.loads((folder / "config.json").read_text())
    described["architectures"] = ["T5EncoderModel"]
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="holds no whole T5"):
        train(config(folder), tmp_path / "run")
