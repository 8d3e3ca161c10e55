"""Modules: encoders of text and pictures, fusion, memory, strategy, painter, generator."""

TEXT = {
    "transformer": "vismem.models.text.transformer:TextTransformer",
    "ngrams": "vismem.models.text.ngrams:HashedNgrams",
    "vectors": "vismem.models.text.vectors:WordVectors",
    "rnn": "vismem.models.text.recurrent:RNN",
    "lstm": "vismem.models.text.recurrent:LSTM",
    "gru": "vismem.models.text.recurrent:GRU",
    "pretrained": "vismem.models.text.pretrained:PretrainedText",
}
VISION = {
    "patches": "vismem.models.vision.stems:PatchStem",
    "cnn": "vismem.models.vision.stems:ConvStem",
    "vgg": "vismem.models.vision.encoder_stems:VGGStem",
    "resnet": "vismem.models.vision.encoder_stems:ResNetStem",
    "vit": "vismem.models.vision.encoder_stems:ViTStem",
    "pretrained": "vismem.models.vision.encoder_stems:PretrainedStem",
}
# Whole encoders: pictures [B, H, W, 3] in [-1, 1] to Features.
VISION_ENCODERS = {
    "cnn": "vismem.models.vision.cnn:CNN",
    "vgg": "vismem.models.vision.vgg:VGG",
    "resnet": "vismem.models.vision.resnet:ResNet",
    "squeezenet": "vismem.models.vision.squeezenet:SqueezeNet",
    "vit": "vismem.models.vision.vit:ViT",
    "pretrained": "vismem.models.vision.pretrained:PretrainedVision",
}
# Encoder and decoder: texts, or what else is embedded, to texts.
TEXT_TO_TEXT = {
    "t5": "vismem.models.text.t5:T5",
}
# Pretrained, on whose grids is drawn; ours is an objective too (objectives/autoencode.py).
AUTOENCODERS = {
    "autoencoder_kl": "vismem.models.autoencoder_kl:AutoencoderKL",
}
FUSION = {
    "attention": "vismem.models.fusion:AttentionFusion",
    "concat": "vismem.models.fusion:ConcatFusion",
    "crossmodal": "vismem.models.fusion:CrossmodalFusion",
}
