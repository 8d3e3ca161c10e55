"""BERT and its kin of the same layout, such as MiniLM."""

import re
from typing import Any

import jax.numpy as jnp

from vismem.errors import UserError
from vismem.models.text.bert import Bert
from vismem.pretrained.family import Config, Family, Tensor, linear, norm


def module(config: Config) -> Bert:
    if config.get("is_decoder"):
        raise UserError("is_decoder is true: only BERT as an encoder is read here")
    return Bert(
        vocab_size=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        positions=config["max_position_embeddings"],
        segments=config["type_vocab_size"],
        activation=config["hidden_act"],
        epsilon=config["layer_norm_eps"],
        pooler=config["add_pooling_layer"],
    )


def tensors(config: Config) -> dict[str, Tensor]:
    found = {
        "words/embedding": Tensor("embeddings.word_embeddings.weight"),
        "positions_table/embedding": Tensor("embeddings.position_embeddings.weight"),
        "segments_table/embedding": Tensor("embeddings.token_type_embeddings.weight"),
        **norm("norm", "embeddings.LayerNorm"),
    }
    for i in range(config["num_hidden_layers"]):
        ours, theirs = f"blocks/block_{i}", f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            found |= linear(f"{ours}/attention/{part}", f"{theirs}.attention.self.{part}")
        found |= linear(f"{ours}/attention/out", f"{theirs}.attention.output.dense")
        found |= norm(f"{ours}/norm_attention", f"{theirs}.attention.output.LayerNorm")
        found |= linear(f"{ours}/mlp/up", f"{theirs}.intermediate.dense")
        found |= linear(f"{ours}/mlp/down", f"{theirs}.output.dense")
        found |= norm(f"{ours}/norm_mlp", f"{theirs}.output.LayerNorm")
    return found | (linear("pool", "pooler.dense") if config["add_pooling_layer"] else {})


def run(module: Bert, params: Any, inputs: Any, shapes: Any) -> dict[str, Any]:
    mask = inputs.get("attention_mask")
    features = module.apply(
        {"params": params},
        inputs["input_ids"],
        None if mask is None else mask > 0,
        inputs.get("token_type_ids"),
    )
    outputs = {"last_hidden_state": features.tokens}
    return outputs | ({"pooler_output": features.pooled} if module.pooler else {})


def canonical(name: str) -> str:
    """Without the prefix of headed models; older files say gamma and beta."""
    name = name.removeprefix("bert.")
    name = re.sub(r"\.gamma$", ".weight", name)
    return re.sub(r"\.beta$", ".bias", name)


FAMILY = Family(
    architectures=(
        *("BertModel", "BertForPreTraining", "BertForMaskedLM", "BertLMHeadModel"),
        *("BertForNextSentencePrediction", "BertForSequenceClassification"),
        *("BertForTokenClassification", "BertForQuestionAnswering", "BertForMultipleChoice"),
    ),
    module=module,
    tensors=tensors,
    example=lambda config: (jnp.zeros((1, 1), jnp.int32),),
    run=run,
    canonical=canonical,
    ignored=lambda config: r"cls\.|classifier\.|qa_outputs\.|embeddings\.position_ids$",
    settle=lambda config, names: config | {"add_pooling_layer": "pooler.dense.weight" in names},
    masks={"last_hidden_state": "attention_mask"},
)
