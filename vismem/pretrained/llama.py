"""Llama, Mistral and Qwen2, which share a layout."""

import jax.numpy as jnp
import numpy as np

from vismem.errors import UserError
from vismem.models.text.llama import Llama, llama3_frequencies, rotary_frequencies
from vismem.pretrained.family import Config, Family, Tensor, linear, norm
from vismem.pretrained.gpt2 import run


def module(config: Config) -> Llama:
    heads = config["num_attention_heads"]
    kind, bias = config["model_type"], config.get("attention_bias", False)
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    return Llama(
        vocab_size=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config["num_key_value_heads"],
        head_dim=head_dim,
        hidden=config["intermediate_size"],
        frequencies=tuple(frequencies(head_dim, config["rope_parameters"]).tolist()),
        activation=config["hidden_act"],
        epsilon=config["rms_norm_eps"],
        window=window(config),
        qkv_bias=bias or kind == "qwen2",
        out_bias=bias,
        mlp_bias=config.get("mlp_bias", False),
        tied=config["tied_head"],
    )


def frequencies(head_dim: int, rope: Config) -> np.ndarray:
    """Of the rotary positions, as config.json's rope_parameters have it."""
    found = rotary_frequencies(head_dim, rope["rope_theta"])
    match rope["rope_type"]:
        case "default":
            return found
        case "linear":
            return found / np.float32(rope["factor"])
        case "llama3":
            return llama3_frequencies(
                found,
                rope["factor"],
                rope["low_freq_factor"],
                rope["high_freq_factor"],
                rope["original_max_position_embeddings"],
            )
        case kind:
            raise UserError(
                f"config.json: rope_type {kind!r} is not read here; known: default, linear, llama3"
            )


def window(config: Config) -> int | None:
    """How far back tokens see; None for all the way."""
    kinds = set(config.get("layer_types") or ())
    if len(kinds) > 1:
        raise UserError("config.json: layers of several kinds of attention are not read here")
    if config["model_type"] == "qwen2" and kinds != {"sliding_attention"}:
        return None
    return config.get("sliding_window")


def tensors(config: Config) -> dict[str, Tensor]:
    root = "model." if headed(config) else ""
    built = module(config)
    found = {"words/embedding": Tensor(f"{root}embed_tokens.weight")}
    for i in range(built.layers):
        ours, theirs = f"blocks/block_{i}", f"{root}layers.{i}"
        for mine, other, bias in (
            ("attention/query", "self_attn.q_proj", built.qkv_bias),
            ("attention/key", "self_attn.k_proj", built.qkv_bias),
            ("attention/value", "self_attn.v_proj", built.qkv_bias),
            ("attention/out", "self_attn.o_proj", built.out_bias),
            ("mlp/gate", "mlp.gate_proj", built.mlp_bias),
            ("mlp/up", "mlp.up_proj", built.mlp_bias),
            ("mlp/down", "mlp.down_proj", built.mlp_bias),
        ):
            found |= linear(f"{ours}/{mine}", f"{theirs}.{other}", bias)
        found |= norm(f"{ours}/norm_attention", f"{theirs}.input_layernorm", use_bias=False)
        found |= norm(f"{ours}/norm_mlp", f"{theirs}.post_attention_layernorm", use_bias=False)
    found |= norm("norm", f"{root}norm", use_bias=False)
    return found | ({} if built.tied else linear("head", "lm_head", use_bias=False))


def headed(config: Config) -> bool:
    return config["architectures"][0].endswith("ForCausalLM")


def settle(config: Config, names: set[str]) -> Config:
    tied = config["tie_word_embeddings"] and "lm_head.weight" not in names
    return config | {"tied_head": tied or not headed(config)}


FAMILY = Family(
    architectures=(
        *("LlamaModel", "LlamaForCausalLM", "MistralModel", "MistralForCausalLM"),
        *("Qwen2Model", "Qwen2ForCausalLM"),
    ),
    module=module,
    tensors=tensors,
    example=lambda config: (jnp.zeros((1, 1), jnp.int32),),
    run=run,
    canonical=lambda name: name.removeprefix("model."),
    ignored=lambda config: (
        r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq$" + ("" if headed(config) else r"|lm_head\.")
    ),
    settle=settle,
    masks={"last_hidden_state": "attention_mask", "logits": "attention_mask"},
)
