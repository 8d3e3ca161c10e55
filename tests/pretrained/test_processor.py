"""Preprocessing of pictures from a model's folder."""

import json

import numpy as np
import pytest
from PIL import Image

from vismem import pretrained
from vismem.errors import UserError
from vismem.pretrained import encoders


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


def test_an_encoder_scales_as_the_file_of_a_whole_processor_says(tmp_path, caplog):
    """transformers 5 saves CLIP's in one file; an older file beside it counts for less."""
    from transformers import CLIPImageProcessorPil, CLIPProcessor, CLIPTokenizer

    CLIPProcessor(CLIPImageProcessorPil(), CLIPTokenizer()).save_pretrained(tmp_path)
    published = {
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    assert encoders.scaling(tmp_path) == published
    older = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 2]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(older))
    assert encoders.scaling(tmp_path) == published
    (tmp_path / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    assert encoders.scaling(tmp_path) == older
    assert "is assumed" not in caplog.text
    (tmp_path / "processor_config.json").write_text('{"image_processor": "CLIPImageProcessor"}')
    with pytest.raises(UserError, match=r"/processor_config\.json: cannot be read"):
        encoders.scaling(tmp_path)


def test_halves_are_assumed_aloud(tmp_path, caplog):
    for _ in range(2):
        assert encoders.scaling(tmp_path) == {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert caplog.text.count("a mean and deviation of 0.5 is assumed") == 1
