"""Objectives: parameters and a batch to losses; and how to draw with what was learned."""

OBJECTIVES = {
    "caption": "vismem.objectives.caption:Caption",
    "contrastive": "vismem.objectives.contrastive:Contrastive",
    "flow": "vismem.objectives.flow:Flow",
    "gan": "vismem.objectives.gan:GAN",
    "regress": "vismem.objectives.regress:Regress",
}
