"""Objectives: parameters and a batch to losses; and how to draw with what was learned."""

OBJECTIVES = {
    "flow": "vismem.objectives.flow:Flow",
}
