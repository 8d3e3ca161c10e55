"""Encoders of pictures: Inception's input is clean-fid's, and towers are the critic's."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vismem import pretrained
from vismem.errors import UserError
from vismem.evaluation.encoder import Encoder
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.pretrained import inception

sys.path.append(str(Path(__file__).parents[1] / "pretrained"))
import vision_variants
from variants import weights


def encoder(choice, size=32, **given):
    return Encoder(choice, size, make_mesh(MeshConfig()), **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An Inception of few channels: the file of its weights."""
    shapes = json.loads(str(np.load(vision_variants.REFERENCES)["inception_fid/shapes"]))
    folder = tmp_path_factory.mktemp("inception")
    save_file({k: weights(k, tuple(s)) for k, s in shapes.items()}, folder / "weights.safetensors")
    return folder


def test_inception_sees_pictures_as_clean_fid_resizes_them(folder):
    inception.convert(folder / "weights.safetensors", folder / "fid", "fid")
    found = encoder({"name": "pretrained", "folder": str(folder / "fid")})
    assert found.fid
    assert found.label == "fid"
    wanted = np.load(vision_variants.REFERENCES)["clean_fid"]
    picture = vision_variants.picture()
    np.testing.assert_allclose(found(picture[None]), wanted, atol=1e-5 * np.abs(wanted).max())
    assert pretrained.processor(folder / "fid")([picture]).shape == (1, 299, 299, 3)


def test_no_other_inception_is_of_fid(folder):
    inception.convert(folder / "weights.safetensors", folder / "fid", "fid")
    inception.convert(folder / "weights.safetensors", folder / "ours", "torchvision")
    assert not encoder({"name": "pretrained", "folder": str(folder / "fid"), "size": 75}).fid
    assert not encoder({"name": "pretrained", "folder": str(folder / "ours")}).fid
    (folder / "fid" / "preprocessor_config.json").unlink()
    assert not encoder({"name": "pretrained", "folder": str(folder / "fid")}).fid
    with pytest.raises(UserError, match="did you mean 'fid'"):
        inception.convert(folder / "weights.safetensors", folder / "x", "fib")
    (folder / "weights.pth").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UserError, match="no safetensors of an Inception"):
        inception.convert(folder / "weights.pth", folder / "x", "fid")
