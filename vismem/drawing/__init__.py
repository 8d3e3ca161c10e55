"""Drawing: solvers, the scan over steps, guidance, diversity, the artist, feedback, sheets."""

SOLVERS = {
    "ancestral": "vismem.drawing.solvers:Ancestral",
    "euler": "vismem.drawing.solvers:Euler",
    "heun": "vismem.drawing.solvers:Heun",
    "multistep": "vismem.drawing.solvers:Multistep",
    "renoise": "vismem.drawing.solvers:Renoise",
    "reveal": "vismem.drawing.solvers:Reveal",
    "reveal_evenly": "vismem.drawing.solvers:RevealEvenly",
}

# How drawings of one text are made to differ.
DIVERSITY = {
    "cads": "vismem.drawing.diversity:CADS",
    "repulsion": "vismem.drawing.diversity:Repulsion",
    "slots": "vismem.drawing.diversity:Slots",
}

# How a drawing is adjusted until a critic is content with it.
STRATEGIES = {
    "best_of_n": "vismem.drawing.feedback:BestOfN",
    "correct": "vismem.drawing.feedback:Correct",
    "gradient": "vismem.drawing.feedback:Gradient",
    "redraw": "vismem.drawing.feedback:Redraw",
}
