"""Objectives: parameters and a batch to losses; and how to draw with what was learned."""

OBJECTIVES = {
    "autoencode": "vismem.objectives.autoencode:Autoencode",
    "caption": "vismem.objectives.caption:Caption",
    "contrastive": "vismem.objectives.contrastive:Contrastive",
    "expand": "vismem.objectives.expand:Expand",
    "flow": "vismem.objectives.flow:Flow",
    "masked": "vismem.objectives.masked:Masked",
    "gan": "vismem.objectives.gan:GAN",
    "regress": "vismem.objectives.regress:Regress",
}
