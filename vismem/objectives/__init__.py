"""Objectives: parameters and a batch to losses; and how to draw with what was learned."""

OBJECTIVES = {
    "contrastive": "vismem.objectives.contrastive:Contrastive",
    "flow": "vismem.objectives.flow:Flow",
}
