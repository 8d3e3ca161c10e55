"""Small models of shapes that the golden checkpoints do not have, and what PyTorch makes of them.

text_references.npz was written by this file, with transformers 5.24.0 on torch 2.13.0:

    python tests/pretrained/variants.py
"""

import json
import zlib
from pathlib import Path

import numpy as np

REFERENCES = Path(__file__).parent / "text_references.npz"
DECODER = dict(vocab_size=57, hidden_size=24, num_hidden_layers=2, num_attention_heads=6)
DECODER |= dict(num_key_value_heads=2, intermediate_size=31)
LLAMA3 = dict(rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0)
LLAMA3 |= dict(high_freq_factor=4.0, original_max_position_embeddings=32)
T5 = dict(vocab_size=57, d_model=30, num_layers=2, decoder_start_token_id=3)

# Name -> architecture and what config.json says beside it.
VARIANTS = {
    "bert": (
        "BertModel",
        dict(vocab_size=57, hidden_size=30, num_hidden_layers=3, num_attention_heads=5)
        | dict(intermediate_size=41, hidden_act="gelu_new", max_position_embeddings=19)
        | dict(type_vocab_size=3, layer_norm_eps=1e-6),
    ),
    "t5": (
        "T5ForConditionalGeneration",
        dict(d_kv=7, num_heads=3, d_ff=41, num_decoder_layers=1)
        | dict(relative_attention_num_buckets=16, relative_attention_max_distance=10)
        | T5,
    ),
    "t5_gated_untied": (
        "T5ForConditionalGeneration",
        dict(d_kv=6, num_heads=5, d_ff=41, num_decoder_layers=2, tie_word_embeddings=False)
        | dict(relative_attention_num_buckets=12, feed_forward_proj="gated-silu")
        | T5,
    ),
    "mt5_untied": (
        "MT5ForConditionalGeneration",
        dict(d_kv=6, num_heads=5, d_ff=41, num_decoder_layers=2) | T5,
    ),
    "gpt2_untied": (
        "GPT2LMHeadModel",
        dict(vocab_size=57, n_embd=30, n_head=3, n_layer=2, n_positions=17, n_inner=37)
        | dict(activation_function="relu", tie_word_embeddings=False),
    ),
    "llama_tied": (
        "LlamaForCausalLM",
        dict(rope_theta=500000.0, tie_word_embeddings=True, head_dim=10, attention_bias=True)
        | dict(mlp_bias=True)
        | DECODER,
    ),
    "llama_stretched": ("LlamaForCausalLM", DECODER | dict(head_dim=16, rope_parameters=LLAMA3)),
    "mistral": ("MistralForCausalLM", DECODER | dict(sliding_window=4)),
    "qwen2": ("Qwen2ForCausalLM", DECODER | dict(rms_norm_eps=1e-3)),
}


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a tensor, settled by its name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if any(part in name.lower() for part in ("norm", ".ln_", ".bn.")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return rng.normal(0, 0.3 if len(shape) > 1 else 0.1, shape).astype(np.float32)


def inputs(name: str) -> dict[str, np.ndarray]:
    """Two texts of 13 and 8 tokens, under transformers' names."""
    rng = np.random.default_rng(0)
    mask = np.arange(13) < np.array([[13], [8]])
    found = {"input_ids": rng.integers(2, 57, mask.shape) * mask, "attention_mask": 1 * mask}
    if name == "bert":
        found["token_type_ids"] = rng.integers(0, 3, mask.shape)
    if "t5" in name:
        found["decoder_input_ids"] = rng.integers(2, 57, (2, 12))
    return found


def main() -> None:
    import torch
    import transformers

    references = {}
    for name, (architecture, options) in VARIANTS.items():
        model_class = getattr(transformers, architecture)
        model = model_class(model_class.config_class(**options)).eval()
        model.config._attn_implementation = "eager"
        if "t5" in name and "untied" in name:  # transformers 5 ties it until a file says otherwise
            model.lm_head.weight = torch.nn.Parameter(torch.zeros(57, 30))
        for tensor, parameter in model.named_parameters():
            parameter.data = torch.tensor(weights(tensor, tuple(parameter.shape)))
        given = {k: torch.tensor(v) for k, v in inputs(name).items()}
        with torch.no_grad():
            outputs = model(**given, output_hidden_states=True)
        if name == "bert":
            found = {"last_hidden_state": outputs[0], "pooler_output": outputs[1]}
        elif "t5" in name:
            tokens = model.generate(
                given["input_ids"],
                attention_mask=given["attention_mask"],
                max_new_tokens=15,
                do_sample=False,
                num_beams=1,
            )
            found = {"logits": outputs.logits, "greedy": tokens}
        else:
            found = {"logits": outputs.logits, "last_hidden_state": outputs.hidden_states[-1]}
        references |= {f"{name}/{k}": v.numpy() for k, v in found.items()}
        architectures = {"architectures": [architecture], "model_type": model.config.model_type}
        references[f"{name}/config"] = np.array(json.dumps(options | architectures))
    np.savez_compressed(REFERENCES, **references)


if __name__ == "__main__":
    main()
