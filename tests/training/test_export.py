"""`vismem export RUN --to hf FOLDER`: a run's pretrained text encoder as files again."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.linen import unbox

from vismem import cli, config, pretrained
from vismem.data.tokenizers import PretrainedTokenizer
from vismem.pretrained import checkpoint
from vismem.training import encoders, export
from vismem.training.run import TOKENIZER

QUICKSTART = str(Path(__file__).parents[2] / "experiments" / "quickstart.py")
BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 8,
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's folder and its encoder's parameters, without the training."""
    from transformers import BertTokenizer

    (tmp_path / "words").mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "ring"]
    (tmp_path / "words" / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(tmp_path / "words" / "vocab.txt")).save_pretrained(tmp_path / "words")
    tokenizer = PretrainedTokenizer(str(tmp_path / "words"), length=8)

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "config.json").write_text(json.dumps(BERT))
    described = checkpoint.read_config(tmp_path / "source") | {"add_pooling_layer": True}
    module, _ = checkpoint.build(described)
    params = unbox(module.init(jax.random.key(0), jnp.zeros((1, 3), jnp.int32))["params"])
    folder = tmp_path / "run"
    settings = config.load(QUICKSTART)
    settings.text = {"name": "pretrained", "folder": "gone"}
    config.write(settings, folder)
    (folder / encoders.FILES["text"]).write_text(json.dumps(described))
    tokenizer.save(folder / TOKENIZER)
    state = {"ema": {"generator": {"text_encoder": {"module": params}, "paint": {"x": 1}}}}
    others = jax.tree.map(lambda x: x + 1, params)
    state["ema"]["critic"] = {"text_encoder": {"module": others}}  # as a gan's
    monkeypatch.setattr(export, "restore", lambda *args: (None, tokenizer, None, state))
    return folder, params


def test_what_is_exported_is_read_again(run, tmp_path, capsys):
    from transformers import AutoTokenizer

    folder, params = run
    out = tmp_path / "out"
    assert cli.main(["export", str(folder), "--to", "hf", str(out)]) == 0
    loaded = pretrained.load(out).params
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    assert AutoTokenizer.from_pretrained(out)("a red ring")["input_ids"] == [2, 5, 6, 7, 3]
    assert capsys.readouterr().out.strip() == str(out)

    assert cli.main(["export", str(folder), "--to", "hf", str(out)]) == 2
    assert "holds a model already" in capsys.readouterr().err


@pytest.mark.parametrize("size", [24, [24, 24]])
def test_a_size_that_is_a_pair_is_written_as_one(size):
    halves = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    run = config.run_config(config.load(QUICKSTART))
    for described in ({"image_size": size}, {"vision_config": {"image_size": size}}):
        found = export.preprocessing(described | halves, run)
        assert found["size"] == {"height": 24, "width": 24}
    assert export.preprocessing(halves, run)["size"]["height"] == run.data.size


def test_a_run_without_a_pretrained_encoder(tmp_path, capsys):
    config.write(config.load(QUICKSTART), tmp_path / "run")
    assert cli.main(["export", str(tmp_path / "run"), "--to", "hf", str(tmp_path / "out")]) == 2
    assert "text.name='transformer' is not of Hugging Face's" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
