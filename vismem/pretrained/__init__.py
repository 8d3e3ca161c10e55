"""Hugging Face checkpoints read into our own modules: `load(folder)`, and back: `export`.
`processor(folder)` makes pictures what a model expects.

A family is one file and one line here. Nothing but JSON and safetensors is read, and no code.
"""

# config.json's model_type, or diffusers' _class_name -> the family that reads it.
FAMILIES = {
    "AutoencoderKL": "vismem.pretrained.autoencoder_kl:FAMILY",
    "bert": "vismem.pretrained.bert:FAMILY",
    "clip": "vismem.pretrained.clip:FAMILY",
    "clip_text_model": "vismem.pretrained.clip:TEXT",
    "clip_vision_model": "vismem.pretrained.clip:VISION",
    "dinov2": "vismem.pretrained.dinov2:FAMILY",
    "dinov2_with_registers": "vismem.pretrained.dinov2:FAMILY",
    "gpt2": "vismem.pretrained.gpt2:FAMILY",
    "inception": "vismem.pretrained.inception:FAMILY",
    "llama": "vismem.pretrained.llama:FAMILY",
    "mistral": "vismem.pretrained.llama:FAMILY",
    "mt5": "vismem.pretrained.t5:FAMILY",
    "qwen2": "vismem.pretrained.llama:FAMILY",
    "resnet": "vismem.pretrained.resnet:FAMILY",
    "siglip": "vismem.pretrained.siglip:FAMILY",
    "siglip_text_model": "vismem.pretrained.siglip:TEXT",
    "siglip_vision_model": "vismem.pretrained.siglip:VISION",
    "squeezenet": "vismem.pretrained.squeezenet:FAMILY",
    "t5": "vismem.pretrained.t5:FAMILY",
    "vgg": "vismem.pretrained.vgg:FAMILY",
    "vit": "vismem.pretrained.vit:FAMILY",
}


def __getattr__(name):
    if name in ("Pretrained", "describe", "load", "export"):  # on first use: they bring jax
        from vismem.pretrained import checkpoint

        return getattr(checkpoint, name)
    if name == "processor":
        from vismem.pretrained.images import processor

        return processor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
