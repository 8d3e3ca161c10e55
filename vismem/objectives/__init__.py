"""Objectives: parameters and a batch to losses; and how to draw with what was learned."""

OBJECTIVES = {
    "autoencode": "vismem.objectives.autoencode:Autoencode",
    "caption": "vismem.objectives.caption:Caption",
    "contrastive": "vismem.objectives.contrastive:Contrastive",
    "diffusion": "vismem.objectives.diffusion:Diffusion",
    "expand": "vismem.objectives.expand:Expand",
    "flow": "vismem.objectives.flow:Flow",
    "gan": "vismem.objectives.gan:GAN",
    "masked": "vismem.objectives.masked:Masked",
    "regress": "vismem.objectives.regress:Regress",
}
