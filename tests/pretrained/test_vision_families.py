"""Models of pictures against transformers on PyTorch: the golden checkpoints, and other shapes."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import vision_variants
from flax.linen import unbox
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file
from variants import weights

from vismem import pretrained
from vismem.errors import UserError
from vismem.pretrained import checkpoint, verify

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "hf"
FAMILIES = ["clip", "dinov2", "resnet", "siglip", "vit"]
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden/hf is missing")


@needs_golden
@pytest.mark.parametrize("name", FAMILIES)
def test_golden(name):
    assert max(verify.errors(GOLDEN / name).values()) < 1e-5


@pytest.mark.parametrize("name", vision_variants.VARIANTS)
def test_other_shapes(tmp_path, name):
    references = np.load(vision_variants.REFERENCES)
    found = {
        key.partition("/")[2]: references[key]
        for key in references.files
        if key.startswith(f"{name}/")
    }
    (tmp_path / "config.json").write_text(str(found.pop("config")))
    shapes = json.loads(str(found.pop("shapes")))
    save_file({k: weights(k, tuple(s)) for k, s in shapes.items()}, tmp_path / "model.safetensors")
    np.savez(tmp_path / "inputs.npz", **vision_variants.inputs(name))
    np.savez(tmp_path / "outputs.npz", **found)
    errors = verify.errors(tmp_path)
    assert errors.keys() == found.keys() != set()
    assert max(errors.values()) < 1e-5


@needs_golden
@pytest.mark.parametrize("name", FAMILIES)
def test_export_writes_what_was_read(tmp_path, name):
    _, params, config = pretrained.load(GOLDEN / name)
    pretrained.export(tmp_path, config, params)
    read = load_file(GOLDEN / name / "model.safetensors")
    for tensor, values in load_file(tmp_path / "model.safetensors").items():
        np.testing.assert_array_equal(read.pop(tensor), values)
    unused = ("mask_token", "num_batches_tracked")
    assert all(tensor.endswith(unused) for tensor in read)


@needs_golden
@pytest.mark.parametrize(("family", "class_name"), [("clip", "CLIP"), ("siglip", "Siglip")])
def test_a_tower_is_read_from_the_file_of_both(family, class_name):
    def flat(architecture):
        params = pretrained.load(GOLDEN / family, architecture=architecture).params
        return flatten_dict(jax.device_get(params), sep="/")

    whole = flat(f"{class_name}Model")
    for tower, architecture in (("text", "TextModel"), ("image", "VisionModel")):
        alone = flat(class_name + architecture)
        prefix = f"{tower}/encoder/" if family == "clip" else f"{tower}/"
        both = {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}
        assert alone.keys() == both.keys()
        for name, values in alone.items():
            np.testing.assert_array_equal(values, both[name])


@needs_golden
def test_a_layer_too_many_in_a_tower_is_named(tmp_path):
    shutil.copy(GOLDEN / "clip" / "config.json", tmp_path)
    tensors = load_file(GOLDEN / "clip" / "model.safetensors")
    extra = "text_model.encoder.layers.2.layer_norm1.bias"
    save_file(tensors | {extra: np.zeros(32, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=f"model.safetensors: tensor '{extra}'"):
        pretrained.load(tmp_path)


def test_a_layer_too_many_in_a_classifier_is_named(tmp_path):
    """What is passed over where no classifier is wanted."""
    settings = {"model_type": "vgg", "stages": [[4], [4]], "hidden_size": 4, "num_labels": 3}
    settings["architectures"] = ["VGGForImageClassification"]
    _, shapes = checkpoint.build(settings)
    params = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), unbox(shapes))
    pretrained.export(tmp_path, settings, params)
    extra = {"classifier.9.bias": np.zeros(3, np.float32)}
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | extra, file)
    assert pretrained.describe(tmp_path, "VGGModel")["stages"] == [[4], [4]]
    with pytest.raises(UserError, match=r"tensor 'classifier\.9\.bias' \[3\] has no place"):
        pretrained.describe(tmp_path)
