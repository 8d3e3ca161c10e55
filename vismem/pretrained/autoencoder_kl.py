"""AutoencoderKL, the autoencoder of latent diffusion, as diffusers stores it."""

import re
from typing import Any

import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.autoencoder_kl import AutoencoderKL
from vismem.pretrained.family import Config, Family, Tensor, conv, linear, norm

# diffusers' defaults of what config.json may leave out.
DEFAULTS = {
    "block_out_channels": [64],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
# What must be so, where config.json says it: other kinds are not built here.
FIXED = {"in_channels": 3, "out_channels": 3, "act_fn": "silu"}
FIXED |= {"latents_mean": None, "latents_std": None}
# Older files name the layers of attention otherwise.
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def module(config: Config) -> AutoencoderKL:
    stages = len(config["block_out_channels"])
    kinds = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
    for key, value in (FIXED | {key: [kind] * stages for key, kind in kinds.items()}).items():
        if config.get(key, value) != value:
            raise UserError(f"{key}={config[key]!r}: only {value!r} is read")
    return AutoencoderKL(
        widths=tuple(config["block_out_channels"]),
        blocks=config["layers_per_block"],
        channels=config["latent_channels"],
        groups=config["norm_num_groups"],
        scaling_factor=float(config["scaling_factor"]),
        shift_factor=float(config["shift_factor"] or 0),
        quant=config["use_quant_conv"],
        post_quant=config["use_post_quant_conv"],
        attention=config["mid_block_add_attention"],
    )


def tensors(config: Config) -> dict[str, Tensor]:
    widths, blocks = config["block_out_channels"], config["layers_per_block"]
    found, last = {}, len(widths) - 1
    for part in ("encoder", "decoder"):
        found |= conv(f"{part}/in", f"{part}.conv_in") | conv(f"{part}/out", f"{part}.conv_out")
        found |= norm(f"{part}/norm", f"{part}.conv_norm_out")
        found |= middle(f"{part}/middle", f"{part}.mid_block", config["mid_block_add_attention"])
    for i, width in enumerate(widths):
        # A stage begins with the channels of the one before: on the way back, of the next.
        theirs = f"encoder.down_blocks.{i}"
        for j in range(blocks):
            projects = j == 0 and width != widths[max(i - 1, 0)]
            found |= block(f"encoder/stage_{i}_block_{j}", f"{theirs}.resnets.{j}", projects)
        if i < last:  # we count the convolution to what it leads to
            found |= conv(f"encoder/down_{i + 1}", f"{theirs}.downsamplers.0.conv")
        theirs = f"decoder.up_blocks.{last - i}"
        for j in range(blocks + 1):
            projects = j == 0 and width != widths[min(i + 1, last)]
            found |= block(f"decoder/stage_{i}_block_{j}", f"{theirs}.resnets.{j}", projects)
        if i:
            found |= conv(f"decoder/up_{i}", f"{theirs}.upsamplers.0.conv")
    for name in ("quant_conv", "post_quant_conv"):
        if config[f"use_{name}"]:
            found |= conv(name, name)
    return found


def block(ours: str, theirs: str, projects: bool) -> dict[str, Tensor]:
    found = conv(f"{ours}/shortcut", f"{theirs}.conv_shortcut") if projects else {}
    for i in range(2):
        found |= norm(f"{ours}/norm_{i}", f"{theirs}.norm{i + 1}")
        found |= conv(f"{ours}/conv_{i}", f"{theirs}.conv{i + 1}")
    return found


def middle(ours: str, theirs: str, attention: bool) -> dict[str, Tensor]:
    found = {}
    for i in range(2):
        found |= block(f"{ours}/block_{i}", f"{theirs}.resnets.{i}", projects=False)
    if attention:
        theirs = f"{theirs}.attentions.0"
        found |= norm(f"{ours}/norm", f"{theirs}.group_norm")
        for name, source in zip(("query", "key", "value", "out"), OLD.values()):
            found |= linear(f"{ours}/attention/{name}", f"{theirs}.{source}")
    return found


def canonical(name: str) -> str:
    return re.sub(rf"(\.attentions\.0\.)({'|'.join(OLD)})(?=\.)", lambda m: m[1] + OLD[m[2]], name)


def run(module: AutoencoderKL, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    """What diffusers makes of `sample`, with no chance in between, and the latents on the way."""
    picture = jnp.transpose(inputs["sample"], (0, 2, 3, 1))
    latents = module.apply({"params": params}, picture, method="encode")
    sample = module.apply({"params": params}, latents, method="decode")
    found = {"latents": latents, "sample": sample}
    return {name: jnp.transpose(x, (0, 3, 1, 2)) for name, x in found.items()}


def example(config: Config) -> tuple[Any]:
    cell = 2 ** (len(config["block_out_channels"]) - 1)
    return (jnp.zeros((1, cell, cell, 3)),)


FAMILY = Family(
    architectures=("AutoencoderKL",),
    module=module,
    tensors=tensors,
    example=example,
    run=run,
    canonical=canonical,
    settle=lambda config, names: DEFAULTS | config,
)
