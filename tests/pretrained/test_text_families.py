"""Text models against transformers on PyTorch: the golden checkpoints, and other shapes."""

import json
from pathlib import Path

import flax.linen as nn
import numpy as np
import pytest
import variants
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from vismem.pretrained import checkpoint, verify

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "hf"


@pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden/hf is missing")
@pytest.mark.parametrize("name", ["bert", "t5", "t5_v1_1", "t5_seq2seq", "gpt2", "llama"])
def test_golden(name):
    errors = verify.errors(GOLDEN / name)
    assert max(errors.values()) < 1e-5
    assert errors.get("greedy", 0) == 0


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_other_shapes(tmp_path, name):
    references = np.load(variants.REFERENCES)
    config = json.loads(str(references[f"{name}/config"]))
    write(tmp_path, config)
    outputs = {
        key.partition("/")[2]: references[key]
        for key in references.files
        if key.startswith(f"{name}/") and not key.endswith("/config")
    }
    np.savez(tmp_path / "inputs.npz", **variants.inputs(name))
    np.savez(tmp_path / "outputs.npz", **outputs)
    errors = verify.errors(tmp_path)
    assert errors.keys() == outputs.keys()
    assert max(errors.values()) < 1e-5
    assert errors.get("greedy", 0) == 0


def write(folder, config):
    """A folder whose weights are settled by the names of the tensors."""
    (folder / "config.json").write_text(json.dumps(config))
    config = checkpoint.read_config(folder)
    family = checkpoint.family_of(config)
    names = {"lm_head.weight"} if not config["tie_word_embeddings"] else set()
    # T5's way of saying so; mT5 has none.
    if not config.get("scale_decoder_outputs", config["model_type"] != "mt5"):
        names = {"lm_head.weight"}
    config = family.settle(config, names | {"pooler.dense.weight"})
    shapes = flatten_dict(nn.unbox(checkpoint.build(config)[1]), sep="/")
    tensors = {
        tensor.name: variants.weights(tensor.name, tensor.file_shape(shapes[name].shape))
        for name, tensor in family.tensors(config).items()
    }
    save_file(tensors, folder / "model.safetensors")
