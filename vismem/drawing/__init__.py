"""Drawing: solvers, guidance, diversity, the scan over steps, the artist, sheets of pictures."""

SOLVERS = {
    "ancestral": "vismem.drawing.solvers:Ancestral",
    "euler": "vismem.drawing.solvers:Euler",
    "heun": "vismem.drawing.solvers:Heun",
    "multistep": "vismem.drawing.solvers:Multistep",
    "renoise": "vismem.drawing.solvers:Renoise",
    "reveal": "vismem.drawing.solvers:Reveal",
    "reveal_evenly": "vismem.drawing.solvers:RevealEvenly",
}
DIVERSITY = {
    "cads": "vismem.drawing.diversity:CADS",
    "repulsion": "vismem.drawing.diversity:Repulsion",
    "slots": "vismem.drawing.diversity:Slots",
}
