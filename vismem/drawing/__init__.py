"""Drawing: solvers, guidance, the scan over steps, and the artist that turns texts into pictures."""

SOLVERS = {
    "euler": "vismem.drawing.solvers:Euler",
    "heun": "vismem.drawing.solvers:Heun",
    "multistep": "vismem.drawing.solvers:Multistep",
}
