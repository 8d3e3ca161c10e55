"""DINOv2, with and without registers."""

from typing import Any

from vismem.models.vision.vit import ViT
from vismem.pretrained.family import Config, Family, Tensor, linear, norm
from vismem.pretrained.vit import all_tokens, attention, embeddings, example, pictures, sizes


def module(config: Config) -> ViT:
    hidden = int(config["hidden_size"] * config["mlp_ratio"])
    options = sizes(config)
    if config["use_swiglu_ffn"]:  # two thirds of it, in whole eights
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        options["activation"] = "silu"
    return ViT(
        **options,
        hidden=hidden,
        gated=config["use_swiglu_ffn"],
        qkv_bias=config["qkv_bias"],
        layer_scale=config["layerscale_value"] or 1.0,
        registers=config.get("num_register_tokens", 0),
        antialias="num_register_tokens" in config,
    )


def tensors(config: Config) -> dict[str, Tensor]:
    found = embeddings() | norm("norm", "layernorm")
    if config.get("num_register_tokens", 0):
        found["registers"] = Tensor("embeddings.register_tokens", ones=1)
    for i in range(config["num_hidden_layers"]):
        ours, theirs = f"blocks/block_{i}", f"encoder.layer.{i}"
        found |= attention(ours, theirs, config["qkv_bias"])
        for place, part in enumerate(("attention", "mlp"), 1):
            found |= norm(f"{ours}/norm_{part}", f"{theirs}.norm{place}")
            found[f"{ours}/scale_{part}"] = Tensor(f"{theirs}.layer_scale{place}.lambda1")
        if config["use_swiglu_ffn"]:
            for place, part in enumerate(("gate", "up")):  # side by side in the file
                half = (0, place, 2)
                source = f"{theirs}.mlp.weights_in"
                found[f"{ours}/mlp/{part}/kernel"] = Tensor(f"{source}.weight", (1, 0), half)
                found[f"{ours}/mlp/{part}/bias"] = Tensor(f"{source}.bias", part=half)
            found |= linear(f"{ours}/mlp/down", f"{theirs}.mlp.weights_out")
        else:
            found |= linear(f"{ours}/mlp/up", f"{theirs}.mlp.fc1")
            found |= linear(f"{ours}/mlp/down", f"{theirs}.mlp.fc2")
    return found


def run(module: ViT, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    features = module.apply({"params": params}, pictures(inputs))
    return {"last_hidden_state": all_tokens(features), "pooler_output": features.pooled}


FAMILY = Family(
    architectures=("Dinov2Model", "Dinov2WithRegistersModel"),
    module=module,
    tensors=tensors,
    example=example,
    run=run,
    canonical=lambda name: name.removeprefix("dinov2.").removeprefix("dinov2_with_registers."),
    ignored=lambda config: r"embeddings\.mask_token|classifier\.",
)
