"""The shardings of the sizes of experiments/xl.py on named topologies, as reviewed.

Where a change is meant, write them anew and look at the difference:

    python tests/planning/test_shardings.py
"""

import re
from pathlib import Path

import flax.linen as nn
import jax
import pytest
from jax.sharding import AbstractMesh, AxisType

from vismem import config
from vismem.parallel import rules
from vismem.planning import plan
from vismem.training.names import names

FOLDER = Path(__file__).parent / "shardings"
XL = Path(__file__).parents[2] / "experiments" / "xl.py"
# Size, pixels and patch.
CASES = [
    *(("S", 64, 4), ("B", 64, 4), ("L", 64, 4), ("XL", 64, 4)),
    *(("S", 32, 2), ("L", 256, 8)),
]


def mesh(data=1, fsdp=1, tensor=1):
    """One without devices."""
    axes = ("slices", "data", "fsdp", "tensor")
    return AbstractMesh((1, data, fsdp, tensor), axes, axis_types=(AxisType.Auto,) * 4)


# 1,152, the width of XL, is no multiple of 256: what fsdp would part is whole there.
MESHES = {
    "v5e:4x4": mesh(fsdp=16),
    "v5e:16x16": mesh(fsdp=256),
    "v5p:4x4x4": mesh(fsdp=16, tensor=4),
}


def described(size, pixels, patch):
    """A line a parameter: name, shape, and on each topology the mesh axes of its dimensions."""
    settings = [f"--config.data.size={pixels}", f"--config.painter.patch={patch}"]
    run = config.run_config(config.override(config.load(f"{XL}:{size}"), settings))
    objective, batch = plan.parts(run, None)
    boxed = jax.eval_shape(objective.init, jax.random.key(0), batch)
    columns = [names(rules.shardings(boxed, mesh)) for mesh in MESHES.values()]
    lines = {"": "".join(f"{head:16}" for head in ("", *MESHES))}
    for name, leaf in names(nn.unbox(boxed)).items():
        cells = ["x".join(map(str, leaf.shape))]
        for column in columns:
            parts = [
                part if isinstance(part, str) else "+".join(part or "-")
                for part in column[name].spec
            ]
            cells.append(", ".join(parts) if any(column[name].spec) else "-")
        line = "".join(f"{cell:16}" for cell in cells)
        name = re.sub(r"block_\d+", "block_*", name)
        assert lines.setdefault(name, line) == line, f"{name}: blocks differ"
    return "".join(f"{name:56}{line}".rstrip() + "\n" for name, line in lines.items())


def path(size, pixels, patch):
    return FOLDER / f"{size}-{patch}-{pixels}px.txt"


@pytest.mark.parametrize("case", CASES, ids=lambda case: path(*case).stem)
def test_shardings_are_as_reviewed(case):
    assert described(*case) == path(*case).read_text(), (
        "shardings have changed; if that is meant: python tests/planning/test_shardings.py"
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        path(*case).write_text(described(*case))
