"""AutoencoderKL against diffusers on PyTorch, and what a bad folder gets."""

import json
from functools import partial

import autoencoder_variants as variants
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vismem import pretrained
from vismem.errors import UserError
from vismem.pretrained import verify


@pytest.fixture
def folder(tmp_path):
    """Writes a variant, and with its references what `verify` takes."""
    references = np.load(variants.REFERENCES)

    def write(name, **changes):
        shapes = json.loads(str(references[f"{name}/shapes"]))
        save_file(variants.tensors(shapes), tmp_path / variants.WEIGHTS)
        (tmp_path / "config.json").write_text(json.dumps(variants.config(name) | changes))
        np.savez(tmp_path / "inputs.npz", **variants.inputs())
        outputs = {k: references[f"{name}/{k}"] for k in ("latents", "sample")}
        np.savez(tmp_path / "outputs.npz", **outputs)
        return tmp_path

    return write


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_agrees_with_diffusers(folder, name):
    errors = verify.errors(folder(name))
    assert errors.keys() == {"latents", "sample"}
    assert max(errors.values()) < 1e-5


def test_a_linear_layer_may_be_stored_as_a_1x1_convolution(folder, tmp_path):
    path = folder("old_names") / variants.WEIGHTS
    stored = load_file(path)
    layers = [k for k in stored if k.split(".")[-2] in variants.OLD.values() and "weight" in k]
    assert len(layers) == 8
    save_file(stored | {k: stored[k][..., None, None] for k in layers}, path)
    assert max(verify.errors(tmp_path).values()) < 1e-5
    save_file(stored | {k: stored[k][None] for k in layers}, path)
    with pytest.raises(UserError, match=r"query\.weight' is F32 \[1, 8, 8\]; .* \[8, 8\]"):
        pretrained.load(tmp_path)


def test_export_writes_what_was_read(folder, tmp_path):
    _, params, config = pretrained.load(folder("three"))
    pretrained.export(tmp_path / "again", config, params)
    written = load_file(tmp_path / "again" / "model.safetensors")
    read = load_file(tmp_path / variants.WEIGHTS)
    assert written.keys() == read.keys()
    for name, values in read.items():
        np.testing.assert_array_equal(written[name], values)
    again = pretrained.load(tmp_path / "again")
    jax.tree.map(np.testing.assert_array_equal, again.params, params)


def test_latents_have_a_cell_for_so_many_pixels(folder):
    module, params, _ = pretrained.load(folder("three"))
    encode, decode = (
        partial(module.apply, {"params": params}, method=m) for m in ("encode", "decode")
    )
    latents = jax.eval_shape(encode, jnp.zeros((2, 32, 48, 3)))
    assert module.cell == 4
    assert latents.shape == (2, 8, 12, 5)
    assert jax.eval_shape(decode, latents).shape == (2, 32, 48, 3)


GONE = "decoder.up_blocks.1.resnets.0.conv_shortcut.weight"


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def drop(path):
    tensors = load_file(path)
    del tensors[GONE]
    save_file(tensors, path)


def add(path):
    save_file(load_file(path) | {"encoder.odd": np.zeros(3, np.float32)}, path)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut, f"{variants.WEIGHTS}: damaged or cut short"),
        (drop, rf"{variants.WEIGHTS}: tensor '{GONE}' is missing; .* \[8, 16, 1, 1\]"),
        (add, r"tensor 'encoder.odd' \[3\] has no place in AutoencoderKL"),
        (lambda path: path.unlink(), "holds no weights"),
    ],
)
def test_damaged_weights_are_one_line(folder, damage, line):
    written = folder("two")
    damage(written / variants.WEIGHTS)
    with pytest.raises(UserError, match=line) as error:
        pretrained.load(written)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"_class_name": "AutoencoderTiny"}, "_class_name 'AutoencoderTiny' is not one that is "),
        ({"down_block_types": ["Down", "Down"]}, r"down_block_types=\['Down', 'Down'\]: only"),
        ({"latents_mean": [0.0] * 4}, r"latents_mean=.*: only None is read"),
        ({"act_fn": "gelu"}, "act_fn='gelu': only 'silu' is read"),
        ({"norm_num_groups": 3}, "describes no model that can be"),
        ({"block_out_channels": None}, "describes no model that can be"),
        ({"scaling_factor": "one"}, "describes no model that can be"),
        ({"layers_per_block": 2}, "tensor '.*' is missing"),
        ({"use_quant_conv": False}, r"tensor 'quant_conv\.bias' \[8\] has no place"),
    ],
)
def test_configs_that_do_not_fit_are_one_line(folder, changes, line):
    with pytest.raises(UserError, match=line) as error:
        pretrained.load(folder("two", **changes))
    assert "\n" not in str(error.value)
