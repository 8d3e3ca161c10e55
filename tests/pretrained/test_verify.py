"""`vismem verify FOLDER`: exit codes, masked positions, and what a folder must hold."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.linen import unbox

from vismem import cli, pretrained
from vismem.pretrained import checkpoint

CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 8,
}
IDS = np.array([[3, 4, 5, 6], [7, 8, 0, 0]])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder without outputs.npz, and what its model gives."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    config = checkpoint.read_config(folder) | {"add_pooling_layer": False}
    (folder / "config.json").unlink()
    module, _ = checkpoint.build(config)
    params = unbox(module.init(jax.random.key(0), jnp.asarray(IDS))["params"])
    pretrained.export(folder, config, params)
    np.savez(folder / "inputs.npz", input_ids=IDS, attention_mask=1 * (IDS > 0))
    return folder, np.array(module.apply({"params": params}, IDS, IDS > 0).tokens)


def verify(model, capsys, *options, **outputs):
    np.savez(model[0] / "outputs.npz", **outputs)
    code = cli.main(["verify", str(model[0]), *options])
    return code, "".join(capsys.readouterr())


def test_exit_code_tells_whether_all_are_near(model, capsys):
    right = model[1]
    code, said = verify(model, capsys, last_hidden_state=right)
    assert code == 0
    assert "last_hidden_state" in said
    off = right.copy()
    off[0, 1, 2] += 1e-3 * np.abs(right).max()
    code, said = verify(model, capsys, last_hidden_state=off)
    assert code == 1
    assert "1.0e-03" in said
    assert verify(model, capsys, "--tolerance", "2e-3", last_hidden_state=off)[0] == 0


def test_positions_that_do_not_exist_are_left_out(model, capsys):
    off = model[1].copy()
    off[1, 2:] += 5.0
    assert verify(model, capsys, last_hidden_state=off)[0] == 0
    off[0, 0, 0] = np.nan
    assert verify(model, capsys, last_hidden_state=off)[0] == 1


def test_what_cannot_be_compared_is_one_line(model, capsys):
    code, said = verify(model, capsys, logits=model[1])
    assert code == 2
    assert "'logits' is none of the model's: last_hidden_state" in said
    code, said = verify(model, capsys, last_hidden_state=model[1][:1])
    assert code == 2
    assert "is [1, 4, 8]; the model gives [2, 4, 8]" in said
    (model[0] / "outputs.npz").write_bytes(b"PK")
    assert cli.main(["verify", str(model[0])]) == 2
    (model[0] / "outputs.npz").unlink()
    assert cli.main(["verify", str(model[0])]) == 2
    assert "outputs.npz: missing" in capsys.readouterr().err
