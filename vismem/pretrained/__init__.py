"""Hugging Face checkpoints read into our own modules: `load(folder)`, and back: `export`.

A family is one file and one line here. Nothing but JSON and safetensors is read, and no code.
"""

# config.json's model_type -> the family that reads it.
FAMILIES = {
    "bert": "vismem.pretrained.bert:FAMILY",
    "gpt2": "vismem.pretrained.gpt2:FAMILY",
    "llama": "vismem.pretrained.llama:FAMILY",
    "mistral": "vismem.pretrained.llama:FAMILY",
    "mt5": "vismem.pretrained.t5:FAMILY",
    "qwen2": "vismem.pretrained.llama:FAMILY",
    "t5": "vismem.pretrained.t5:FAMILY",
}


def __getattr__(name):
    if name in ("Pretrained", "load", "export"):  # on first use: they bring jax
        from vismem.pretrained import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
