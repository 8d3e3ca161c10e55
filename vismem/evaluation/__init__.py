"""Evaluators: one a file, chosen by name, each run at its own interval."""

EVALUATORS = {
    "answers": "vismem.evaluation.answers:Answers",
    "captions": "vismem.evaluation.captions:Captions",
    "claims": "vismem.evaluation.claims:Claims",
    "corrections": "vismem.evaluation.corrections:Corrections",
    "distribution": "vismem.evaluation.distribution:Distribution",
    "diversity": "vismem.evaluation.diversity:Diversity",
    "edits": "vismem.evaluation.edits:EditScores",
    "expansions": "vismem.evaluation.expansions:Expansions",
    "generative": "vismem.evaluation.generative:Generative",
    "grid": "vismem.evaluation.grid:Grid",
    "loss": "vismem.evaluation.loss:ValidationLoss",
    "near_misses": "vismem.evaluation.near_misses:NearMisses",
    "nearest": "vismem.evaluation.nearest:Nearest",
    "dialogues": "vismem.evaluation.dialogues:Dialogues",
    "probe": "vismem.evaluation.probe:Probe",
    "reconstruction": "vismem.evaluation.reconstruction:Reconstruction",
    "retrieval": "vismem.evaluation.retrieval:Retrieval",
    "speed": "vismem.evaluation.speed:Speed",
    "zeroshot": "vismem.evaluation.zeroshot:ZeroShot",
}
