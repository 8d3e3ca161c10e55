"""Small autoencoders of several shapes, and what diffusers makes of them.

autoencoder_references.npz was written by this file, with diffusers 0.42.1 on torch 2.13.0:

    python tests/pretrained/autoencoder_variants.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from variants import weights

REFERENCES = Path(__file__).parent / "autoencoder_references.npz"
WEIGHTS = "diffusion_pytorch_model.safetensors"
# The layers of attention as older files name them.
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

# Name -> what config.json says, but for the kinds of blocks.
VARIANTS = {
    "two": dict(block_out_channels=[8, 16], norm_num_groups=4, latent_channels=4),
    "old_names": dict(block_out_channels=[8], norm_num_groups=2, scaling_factor=0.5),
    "three": dict(block_out_channels=[6, 12, 12], norm_num_groups=3, layers_per_block=2)
    | dict(latent_channels=5, scaling_factor=0.36, shift_factor=0.12)
    | dict(use_quant_conv=False, use_post_quant_conv=False),
    "no_attention": dict(block_out_channels=[8, 4], norm_num_groups=2, latent_channels=3)
    | dict(mid_block_add_attention=False, shift_factor=-0.4),
}


def config(name: str) -> dict:
    """All of config.json."""
    stages = len(VARIANTS[name]["block_out_channels"])
    kinds = dict(down_block_types=stages * ["DownEncoderBlock2D"])
    kinds |= dict(up_block_types=stages * ["UpDecoderBlock2D"])
    return {"_class_name": "AutoencoderKL", "_diffusers_version": "0.30.0"} | kinds | VARIANTS[name]


def inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"sample": rng.uniform(-1, 1, (2, 3, 16, 24)).astype(np.float32)}


def tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: weights(name, tuple(shape)) for name, shape in shapes.items()}


def main() -> None:
    import torch
    from diffusers import AutoencoderKL

    references = {}
    for name in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            AutoencoderKL.from_config(config(name)).save_pretrained(folder)
            shapes = {k: v.shape for k, v in load_file(f"{folder}/{WEIGHTS}").items()}
            if name == "old_names":
                for new, old in OLD.items():
                    shapes = {k.replace(f".{new}.", f".{old}."): v for k, v in shapes.items()}
            save_file(tensors(shapes), f"{folder}/{WEIGHTS}", metadata={"format": "pt"})
            model = AutoencoderKL.from_pretrained(folder).eval()
        sample = torch.tensor(inputs()["sample"])
        with torch.no_grad():
            mean = model.encode(sample).latent_dist.mode()
            found = {"sample": model(sample).sample}
        shift, scale = model.config.shift_factor or 0, model.config.scaling_factor
        found["latents"] = (mean - shift) * scale
        references |= {f"{name}/{k}": v.numpy() for k, v in found.items()}
        references[f"{name}/shapes"] = np.array(json.dumps(shapes))
    np.savez_compressed(REFERENCES, **references)


if __name__ == "__main__":
    main()
