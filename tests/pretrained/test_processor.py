"""Preprocessing of pictures from a model's folder."""

import json

import numpy as np
import pytest
from PIL import Image

from vismem import pretrained
from vismem.errors import UserError


def test_preprocessing_is_what_the_file_says(tmp_path):
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    config = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 8, "width": 12},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": mean,
        "image_std": std,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((16, 20), (5, 30), (3, 3))]
    found = pretrained.processor(tmp_path)(pictures)
    assert found.dtype == np.float32
    for picture, values in zip(pictures, found, strict=True):
        small = np.asarray(Image.fromarray(picture).resize((12, 8), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(values, (small / 255 - mean) / std, atol=1e-5)


def test_a_folder_without_preprocessing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"preprocessor_config\.json"):
        pretrained.processor(tmp_path)
