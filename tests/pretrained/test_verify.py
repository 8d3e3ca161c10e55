"""`vismem verify FOLDER`: exit codes, masked positions, and what a folder must hold."""

import json
import shutil
import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.linen import unbox
from huggingface_hub import HfApi

from vismem import cli, pretrained
from vismem.errors import UserError
from vismem.pretrained import checkpoint
from vismem.pretrained.verify import _error

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


def test_a_bert_that_decodes_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"is_decoder": True}))
    with pytest.raises(UserError, match=r"config\.json: .*is_decoder is true: only BERT as an enc"):
        checkpoint.build(checkpoint.read_config(tmp_path), tmp_path)


def test_tokens_are_equal_or_they_are_not():
    """However large the vocabulary is."""
    tokens = np.array([[250_000, 3], [250_000, 9]])
    assert _error(tokens, tokens, None) == 0
    assert _error(tokens - 1, tokens, None) == 1
    assert _error(tokens + np.array([0, 1]), tokens, np.array([[1, 0], [1, 0]])) == 0


def test_what_cannot_be_compared_is_one_line(model, capsys):
    code, said = verify(model, capsys, logits=model[1])
    assert code == 2
    assert "'logits' is none of the model's: last_hidden_state" in said
    code, said = verify(model, capsys, last_hidden_state=model[1][:1])
    assert code == 2
    assert "is [1, 4, 8]; the model gives [2, 4, 8]" in said
    code, said = verify(model, capsys)
    assert code == 2
    assert "outputs.npz: no arrays" in said
    (model[0] / "outputs.npz").write_bytes(b"PK")
    assert cli.main(["verify", str(model[0])]) == 2
    (model[0] / "outputs.npz").unlink()
    assert cli.main(["verify", str(model[0])]) == 2
    assert "outputs.npz: missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({"input_ids": IDS[0]}, r"input_ids int64 [4], attention_mask int64 [2, 4]"),
        ({"attention_mask": IDS[:, :2]}, "attention_mask int64 [2, 2]"),
        ({"input_ids": IDS.astype(np.float32)}, "input_ids float32 [2, 4]"),
        ({"input_ids": IDS.astype(str)}, "input_ids <U21 [2, 4]"),
    ],
)
def test_inputs_that_do_not_fit_are_one_line(model, capsys, tmp_path, change, held):
    folder = shutil.copytree(model[0], tmp_path / "model")
    np.savez(folder / "inputs.npz", **{"input_ids": IDS, "attention_mask": 1 * (IDS > 0)} | change)
    np.savez(folder / "outputs.npz", last_hidden_state=model[1])
    assert cli.main(["verify", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "inputs.npz: " in said
    assert f"{held}" in said


def test_pictures_that_do_not_fit_are_one_line(capsys, tmp_path):
    settings = {"model_type": "vgg", "architectures": ["VGGModel"], "stages": [[4], [4]]}
    _, shapes = checkpoint.build(settings)
    params = jax.tree.map(lambda x: jnp.zeros(x.shape), unbox(shapes))
    pretrained.export(tmp_path, settings, params)
    np.savez(tmp_path / "outputs.npz", pooler_output=np.zeros((2, 4)))
    for shape in ((2, 1, 8, 8), (2, 8, 8, 3), (3, 8, 8)):
        np.savez(tmp_path / "inputs.npz", pixel_values=np.zeros(shape, np.float32))
        assert cli.main(["verify", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert f"inputs.npz: pixel_values float32 {list(shape)} is not what the model" in said
        assert said.count("\n") == 1


def test_a_folder_that_is_not_there_is_one_line_at_once(capsys, monkeypatch):
    """Also where the network swallows what is sent."""
    model_info = HfApi.model_info
    monkeypatch.setattr(HfApi, "model_info", lambda *args, timeout: model_info(*args, timeout=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        assert cli.main(["verify", "typo"]) == 2
    said = capsys.readouterr().err
    assert "typo: no such folder, and not to be had from the Hugging Face Hub" in said
    assert said.count("\n") == 1
