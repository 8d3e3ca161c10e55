"""GPT-2, whose Linear layers are stored [in, out]."""

from typing import Any

import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.text.gpt2 import GPT2
from vismem.pretrained.family import Config, Family, Tensor, linear, norm


def module(config: Config) -> GPT2:
    if not config["scale_attn_weights"] or config["scale_attn_by_inverse_layer_idx"]:
        raise UserError("config.json: GPT-2 with another scale of the attention is not read here")
    return GPT2(
        vocab_size=config["vocab_size"],
        width=config["n_embd"],
        layers=config["n_layer"],
        heads=config["n_head"],
        hidden=config["n_inner"] or 4 * config["n_embd"],
        positions=config["n_positions"],
        activation=config["activation_function"],
        epsilon=config["layer_norm_epsilon"],
        tied=config["tied_head"],
    )


def tensors(config: Config) -> dict[str, Tensor]:
    root = "transformer." if headed(config) else ""
    found = {
        "words/embedding": Tensor(f"{root}wte.weight"),
        "places/embedding": Tensor(f"{root}wpe.weight"),
    }
    for i in range(config["n_layer"]):
        ours, theirs = f"blocks/block_{i}", f"{root}h.{i}"
        for place, part in enumerate(("query", "key", "value")):
            kernel, bias = f"{theirs}.attn.c_attn.weight", f"{theirs}.attn.c_attn.bias"
            found[f"{ours}/attention/{part}/kernel"] = Tensor(kernel, part=(1, place, 3))
            found[f"{ours}/attention/{part}/bias"] = Tensor(bias, part=(0, place, 3))
        for mine, other in (
            ("attention/out", "attn.c_proj"),
            ("mlp/up", "mlp.c_fc"),
            ("mlp/down", "mlp.c_proj"),
        ):
            found[f"{ours}/{mine}/kernel"] = Tensor(f"{theirs}.{other}.weight")
            found[f"{ours}/{mine}/bias"] = Tensor(f"{theirs}.{other}.bias")
        found |= norm(f"{ours}/norm_attention", f"{theirs}.ln_1")
        found |= norm(f"{ours}/norm_mlp", f"{theirs}.ln_2")
    found |= norm("norm", f"{root}ln_f")
    return found | ({} if config["tied_head"] else linear("head", "lm_head", use_bias=False))


def headed(config: Config) -> bool:
    return config["architectures"][0] == "GPT2LMHeadModel"


def run(module: Any, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    mask = inputs.get("attention_mask")
    variables = {"params": params}
    features = module.apply(variables, inputs["input_ids"], None if mask is None else mask > 0)
    outputs = {"last_hidden_state": features.tokens}
    if "logits" in shapes:
        outputs["logits"] = module.apply(variables, features.tokens, method="logits")
    return outputs


def settle(config: Config, names: set[str]) -> Config:
    tied = config["tie_word_embeddings"] and "lm_head.weight" not in names
    return config | {"tied_head": tied or not headed(config)}


FAMILY = Family(
    architectures=("GPT2Model", "GPT2LMHeadModel"),
    module=module,
    tensors=tensors,
    example=lambda config: (jnp.zeros((1, 1), jnp.int32),),
    run=run,
    canonical=lambda name: name.removeprefix("transformer."),
    # Buffers that older files hold; the head where it is not wanted.
    ignored=lambda config: r"h\.\d+\.attn\.(masked_)?bias$"
    + ("" if headed(config) else r"|lm_head\."),
    settle=settle,
    masks={"last_hidden_state": "attention_mask", "logits": "attention_mask"},
)
