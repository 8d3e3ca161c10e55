"""Evaluators: one a file, chosen by name, each run at its own interval."""

EVALUATORS = {
    "claims": "vismem.evaluation.claims:Claims",
    "grid": "vismem.evaluation.grid:Grid",
    "loss": "vismem.evaluation.loss:ValidationLoss",
    "nearest": "vismem.evaluation.nearest:Nearest",
    "dialogues": "vismem.evaluation.dialogues:Dialogues",
}
