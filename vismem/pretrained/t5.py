"""T5, v1.0 and v1.1 (and mT5): the encoder alone, or with the decoder."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from vismem.models.text.t5 import T5, T5Encoder, generate
from vismem.pretrained.family import Config, Family, Tensor, linear, norm

ENCODERS = ("T5EncoderModel", "MT5EncoderModel")


def module(config: Config) -> T5Encoder:
    options = dict(
        vocab_size=config["vocab_size"],
        width=config["d_model"],
        layers=config["num_layers"],
        heads=config["num_heads"],
        head_dim=config["d_kv"],
        hidden=config["d_ff"],
        activation=config["dense_act_fn"],
        gated=config["is_gated_act"],
        buckets=config["relative_attention_num_buckets"],
        max_distance=config["relative_attention_max_distance"],
        epsilon=config["layer_norm_epsilon"],
    )
    if encoder_only(config):
        return T5Encoder(**options)
    start = config.get("decoder_start_token_id")
    return T5(
        **options,
        decoder_layers=config["num_decoder_layers"],
        tied=config["tied_head"],
        rescaled=config.get("scale_decoder_outputs", False),  # mT5 never does, nor says so
        start=config["pad_token_id"] if start is None else start,
        end=tuple(np.ravel(config["eos_token_id"]).tolist()),
        pad=config["pad_token_id"],
    )


def encoder_only(config: Config) -> bool:
    return config["architectures"][0] in ENCODERS


def tensors(config: Config) -> dict[str, Tensor]:
    found = {"words/embedding": Tensor("shared.weight")}
    found |= tower("encoder", config, config["num_layers"])
    if not encoder_only(config):
        found |= tower("decoder", config, config["num_decoder_layers"])
        if not config["tied_head"]:
            found |= linear("head", "lm_head", use_bias=False)
    return found


def tower(name: str, config: Config, layers: int) -> dict[str, Tensor]:
    table = f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    found = {f"{name}/positions/table/embedding": Tensor(table)}
    attentions = [("attention", "SelfAttention"), ("cross", "EncDecAttention")]
    for i in range(layers):
        ours, theirs = f"{name}/blocks/block_{i}", f"{name}.block.{i}.layer"
        for place, (mine, other) in enumerate(attentions[: 1 + (name == "decoder")]):
            found |= norm(f"{ours}/norm_{mine}", f"{theirs}.{place}.layer_norm", use_bias=False)
            for part, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
                source = f"{theirs}.{place}.{other}.{letter}"
                found |= linear(f"{ours}/{mine}/{part}", source, use_bias=False)
        last = f"{theirs}.{1 + (name == 'decoder')}"
        found |= norm(f"{ours}/norm_mlp", f"{last}.layer_norm", use_bias=False)
        parts = {"up": "wi", "down": "wo"}
        if config["is_gated_act"]:
            parts = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
        for mine, other in parts.items():
            found |= linear(f"{ours}/mlp/{mine}", f"{last}.DenseReluDense.{other}", use_bias=False)
    return found | norm(f"{name}/norm", f"{name}.final_layer_norm", use_bias=False)


def run(module: T5Encoder, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    mask = None if mask is None else mask > 0
    variables = {"params": params}
    if not isinstance(module, T5):
        return {"last_hidden_state": module.apply(variables, ids, mask).tokens}
    outputs = {"encoder_last_hidden_state": module.apply(variables, ids, mask, method="encode")}
    if "decoder_input_ids" in inputs:
        seen = inputs.get("decoder_attention_mask")
        seen = None if seen is None else seen > 0
        outputs["logits"] = module.apply(variables, ids, inputs["decoder_input_ids"], mask, seen)
    if "greedy" in shapes:
        outputs["greedy"] = generate(module, params, ids, mask, length=shapes["greedy"][1])
    return outputs


def ignored(config: Config) -> str:
    """A table that old files hold and no one uses; the decoder where the encoder is wanted."""
    unused = r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias"
    return unused + (r"|decoder\.|lm_head\." if encoder_only(config) else "")


def settle(config: Config, names: set[str]) -> Config:
    """Old configs say that a head is tied while the file holds one: the file is right."""
    return config | {"tied_head": "lm_head.weight" not in names}


def canonical(name: str) -> str:
    """Older files hold the words' table once more for each tower."""
    return "shared.weight" if name.endswith("coder.embed_tokens.weight") else name


FAMILY = Family(
    architectures=(
        *("T5EncoderModel", "T5ForConditionalGeneration"),
        *("MT5EncoderModel", "MT5ForConditionalGeneration"),
    ),
    module=module,
    tensors=tensors,
    example=lambda config: ((jnp.zeros((1, 1), jnp.int32),) * (1 if encoder_only(config) else 2)),
    run=run,
    canonical=canonical,
    copies=r"shared\.weight|(en|de)coder\.embed_tokens\.weight",
    ignored=ignored,
    settle=settle,
    masks={
        "last_hidden_state": "attention_mask",
        "encoder_last_hidden_state": "attention_mask",
        "logits": "decoder_attention_mask",
    },
)
