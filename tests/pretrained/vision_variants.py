"""Small models of pictures, of shapes that the golden checkpoints do not have, and what PyTorch
makes of them.

vision_references.npz was written by this file, with transformers 5.23.0 on torch 2.13.0 (Inception
with torchvision 0.28.0, pytorch-fid 0.3.0 and clean-fid 0.1.35):

    python tests/pretrained/vision_variants.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from variants import weights

REFERENCES = Path(__file__).parent / "vision_references.npz"
VISION = dict(hidden_size=30, num_hidden_layers=3, num_attention_heads=5)
VISION |= dict(image_size=28, patch_size=7)
TEXT = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=44)
TEXT |= dict(vocab_size=50, max_position_embeddings=9, bos_token_id=0)
RESNET = dict(embedding_size=12, depths=[1, 2])
STAGES = [[4], [6], [8, 8], [10, 10], [10, 10]]
SQUEEZE = [2, 2, 4, 4, 6, 6, 8, 8]

# Name -> architecture, what config.json says beside it, and the pictures' size (None for none).
VARIANTS = {
    "vit": (
        "ViTModel",
        dict(intermediate_size=40, hidden_act="gelu_new", qkv_bias=False, layer_norm_eps=1e-3)
        | dict(pooler_output_size=17, pooler_act="relu")
        | VISION,
        (42, 63),
    ),
    "vit_classifier": (
        "ViTForImageClassification",
        dict(intermediate_size=40, num_labels=5) | VISION,
        (28, 28),
    ),
    "dinov2_gated": (
        "Dinov2Model",
        dict(use_swiglu_ffn=True, qkv_bias=False) | VISION,
        (21, 56),
    ),
    "dinov2_registers": (
        "Dinov2WithRegistersModel",
        dict(num_register_tokens=3) | VISION,
        (49, 21),
    ),
    "clip": (
        "CLIPModel",
        dict(
            text_config=TEXT | dict(hidden_act="gelu", eos_token_id=49),
            vision_config=VISION | dict(hidden_act="gelu", intermediate_size=40),
            projection_dim=11,
        ),
        (28, 28),
    ),
    "clip_old_end": (
        "CLIPTextModelWithProjection",
        TEXT | dict(eos_token_id=2, projection_dim=10),
        None,
    ),
    "clip_vision": (
        "CLIPVisionModelWithProjection",
        VISION | dict(intermediate_size=40, projection_dim=10),
        (35, 21),
    ),
    "siglip_text": (
        "SiglipTextModel",
        TEXT | dict(eos_token_id=49, hidden_act="gelu", projection_size=13),
        None,
    ),
    "siglip_vision": ("SiglipVisionModel", VISION | dict(intermediate_size=40), (42, 56)),
    "resnet_basic": (
        "ResNetForImageClassification",
        RESNET | dict(layer_type="basic", hidden_sizes=[12, 20], num_labels=5),
        (47, 80),
    ),
    "resnet_early": (
        "ResNetModel",
        dict(downsample_in_first_stage=True, downsample_in_bottleneck=True, hidden_act="silu")
        | RESNET
        | dict(hidden_sizes=[8, 16]),
        (64, 48),
    ),
    "vgg": (
        "VGGForImageClassification",
        dict(stages=STAGES, hidden_size=20, num_labels=6),
        (100, 230),
    ),
    "squeezenet_1.0": (
        "SqueezeNetForImageClassification",
        dict(version="1.0", squeeze=SQUEEZE, num_labels=7, head_padding=1),
        (98, 75),
    ),
    "squeezenet_1.1": (
        "SqueezeNetForImageClassification",
        dict(version="1.1", squeeze=SQUEEZE, num_labels=7),
        (65, 98),
    ),
    "inception_torchvision": (
        "InceptionForImageClassification",
        dict(variant="torchvision", width=2, num_labels=7),
        (139, 107),
    ),
    "inception_fid": (
        "InceptionForImageClassification",
        dict(variant="fid", width=2, num_labels=7),
        (107, 139),
    ),
}


def inputs(name: str) -> dict[str, np.ndarray]:
    """Under transformers' names."""
    rng = np.random.default_rng(0)
    architecture, options, size = VARIANTS[name]
    found = {}
    if size:
        found["pixel_values"] = rng.normal(size=(2, 3, *size)).astype(np.float32)
    if "Text" in architecture or "text_config" in options:
        ids = rng.integers(3, 49, (3, 7))
        ids[0, 4] = ids[1, 6] = ids[2, 2] = ids[2, 5] = 49
        found |= {"input_ids": ids, "attention_mask": 1 * (np.arange(7) < [[5], [7], [3]])}
    return found


def torchvision_model(options: dict) -> object:
    """The layers of torchvision's lists, which are what names the weights."""
    from torch import cat, nn

    class Fire(nn.Module):
        def __init__(self, width: int, squeeze: int):
            super().__init__()
            self.squeeze = nn.Conv2d(width, squeeze, 1)
            self.expand1x1 = nn.Conv2d(squeeze, 4 * squeeze, 1)
            self.expand3x3 = nn.Conv2d(squeeze, 4 * squeeze, 3, padding=1)

        def forward(self, x):
            x = self.squeeze(x).relu()
            return cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)

    labels = options["num_labels"]
    if "stages" in options:
        layers, width, hidden = [], 3, options["hidden_size"]
        for stage in options["stages"]:
            for features in stage:
                layers += [nn.Conv2d(width, features, 3, padding=1), nn.ReLU()]
                width = features
            layers.append(nn.MaxPool2d(2, 2))
        head = [nn.Linear(49 * width, hidden), nn.ReLU(), nn.Dropout()]
        head += [nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, labels)]
        between = [nn.AdaptiveAvgPool2d(7), nn.Flatten()]
    else:
        old = options["version"] == "1.0"
        width = 96 if old else 64
        layers = [nn.Conv2d(3, width, 7 if old else 3, 2), nn.ReLU()]
        for i, squeeze in enumerate(options["squeeze"]):
            if i in ((0, 3, 7) if old else (0, 2, 4)):
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            layers.append(Fire(width, squeeze))
            width = 8 * squeeze
        conv = nn.Conv2d(width, labels, 1, padding=options.get("head_padding", 0))
        head, between = [nn.Dropout(), conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()], []
    parts = {"features": layers, "between": between, "classifier": head}
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, nn.Sequential(*part))
    return model


def picture() -> np.ndarray:
    """uint8 [H, W, 3], what the pooled features under "clean_fid" are of."""
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


def inception_model(options: dict) -> object:
    """torchvision's, or with the blocks of pytorch-fid, of fewer channels."""
    import torchvision
    from pytorch_fid import inception as fid
    from torch import nn

    published = torchvision.models.inception
    full = published.BasicConv2d

    def narrow(inputs: int, outputs: int, **given) -> nn.Module:
        width = options["width"]
        return full(inputs if inputs == 3 else inputs * width // 32, outputs * width // 32, **given)

    published.BasicConv2d = narrow
    own = options["variant"] == "torchvision"
    model = published.Inception3(options["num_labels"], aux_logits=own, init_weights=False)
    if not own:
        pooled = {"5b": (192, 32), "5c": (256, 64), "5d": (288, 64)}
        inner = {"6b": 128, "6c": 160, "6d": 160, "6e": 192}
        blocks = {name: fid.FIDInceptionA(*sizes) for name, sizes in pooled.items()}
        blocks |= {name: fid.FIDInceptionC(768, channels) for name, channels in inner.items()}
        blocks |= {"7b": fid.FIDInceptionE_1(1280), "7c": fid.FIDInceptionE_2(2048)}
        for name, block in blocks.items():
            setattr(model, f"Mixed_{name}", block)
    published.BasicConv2d = full
    model.fc = nn.Linear(64 * options["width"], options["num_labels"])
    return model


def main() -> None:
    import torch
    import transformers

    references = {}
    for name, (architecture, options, size) in VARIANTS.items():
        given = {k: torch.tensor(v) for k, v in inputs(name).items()}
        model_class = getattr(transformers, architecture, None)
        if model_class is None:
            build = inception_model if "variant" in options else torchvision_model
            model = build(options).eval()
            state = {k: weights(k, tuple(v.shape)) for k, v in model.state_dict().items()}
            model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
            config = dict(options, model_type=name.split("_")[0])
        else:
            config = model_class.config_class(**options)
            with tempfile.TemporaryDirectory() as folder:
                model_class(config).save_pretrained(folder)
                path = f"{folder}/model.safetensors"
                with safe_open(path, "numpy") as file:
                    state = {k: file.get_slice(k).get_shape() for k in file.keys()}  # noqa: SIM118
                state = {k: weights(k, tuple(shape)) for k, shape in state.items()}
                save_file(state, path, metadata={"format": "pt"})
                model = model_class.from_pretrained(folder).eval()
            config = options | {"model_type": config.model_type}
            if (
                size
                and size != (28, 28)
                and "Dinov2" not in architecture
                and "image_size" in options
            ):
                given["interpolate_pos_encoding"] = True
        with torch.no_grad():
            found = model(given["pixel_values"]) if model_class is None else model(**given)
        if model_class is None:
            found = {"logits": found}
        kept = ("logits", "last_hidden_state", "pooler_output", "logits_per_text")
        kept += ("text_embeds", "image_embeds")
        references |= {
            f"{name}/{k}": v.numpy() for k, v in found.items() if k in kept and v is not None
        }
        references[f"{name}/config"] = np.array(
            json.dumps(config | {"architectures": [architecture]})
        )
        shapes = {k: v.shape for k, v in state.items()}
        references[f"{name}/shapes"] = np.array(json.dumps(shapes))
        if name == "inception_fid":
            from cleanfid.resize import build_resizer

            resized = build_resizer("clean")(picture())[None].transpose(0, 3, 1, 2)
            model.fc = torch.nn.Identity()
            with torch.no_grad():  # scaled as its inception_torchscript.py does
                references["clean_fid"] = model((torch.tensor(resized) - 128) / 128).numpy()
    np.savez_compressed(REFERENCES, **references)


if __name__ == "__main__":
    main()
