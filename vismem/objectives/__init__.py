"""Objectives: parameters and a batch to losses; and how to draw with what was learned."""

OBJECTIVES = {
    "autoencode": "vismem.objectives.autoencode:Autoencode",
    "caption": "vismem.objectives.caption:Caption",
    "contrastive": "vismem.objectives.contrastive:Contrastive",
    "flow": "vismem.objectives.flow:Flow",
    "gan": "vismem.objectives.gan:GAN",
    "regress": "vismem.objectives.regress:Regress",
}
