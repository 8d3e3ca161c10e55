"""Modules: encoders of text and pictures, fusion, memory, strategy, painter, generator."""

TEXT = {
    "transformer": "vismem.models.text.transformer:TextTransformer",
}
VISION = {
    "patches": "vismem.models.vision.stems:PatchStem",
    "cnn": "vismem.models.vision.stems:ConvStem",
}
FUSION = {
    "attention": "vismem.models.fusion:AttentionFusion",
    "concat": "vismem.models.fusion:ConcatFusion",
    "crossmodal": "vismem.models.fusion:CrossmodalFusion",
}
