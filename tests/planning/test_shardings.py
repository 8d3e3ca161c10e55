"""The shardings of the sizes of experiments/xl.py, of pictures and of latents, and of
experiments/coco.py, on named topologies, as reviewed.

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
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
# A file of shardings -> the config, and its pictures: pixels and patch, None where they stay.
PICTURES = [(32, 2), (64, 2), (64, 4), (64, 8), (128, 8), (256, 8), (512, 8)]
CASES = {
    **{size: (f"xl.py:{size}", PICTURES) for size in ("S", "B", "L", "XL")},
    "coco-L": ("coco.py:L", [(256, 2), (512, 2)]),  # of latents
}


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


HEAD = f"{'':80}" + "".join(f"{cell:16}" for cell in ("", *MESHES))


def latents():
    """Of the sizes that draw on the grid of coco.py's autoencoder, 256 px in patches of 2: what of
    their own parameters no picture in their files has."""
    objective = config.load(f"{EXPERIMENTS}/coco.py").objective
    rows = [HEAD]
    for size in ("S", "B", "XL"):  # L is coco-L
        made = config.load(f"{EXPERIMENTS}/xl.py:{size}")
        made.objective.autoencoder = objective.autoencoder
        made.data.size, made.painter.patch = 256, 2
        known = (FOLDER / f"{size}.txt").read_text()
        for name, line in lines(config.run_config(made)).items():
            row = f"{name:80}{line}".rstrip()
            if not name.startswith("autoencoder/") and row not in known:
                rows.append(f"{f'{size} {name}':80}{line}")
    return "".join(row.rstrip() + "\n" for row in rows)


def described(case):
    """A line a parameter: name, shape, and on each topology the mesh axes of its dimensions. What
    is not the same for all pictures has a line for each kind of them."""
    experiment, pictures = CASES[case]
    found = {}
    for pixels, patch in pictures:
        settings = [f"--config.data.size={pixels}", f"--config.painter.patch={patch}"]
        made = config.override(config.load(f"{EXPERIMENTS}/{experiment}"), settings)
        for name, line in lines(config.run_config(made)).items():
            kinds = found.setdefault(name, {})
            kinds.setdefault(line, []).append(f"{pixels}/{patch}")
    rows = [HEAD]
    for name, kinds in found.items():
        for line, those in kinds.items():
            told = name if len(those) == len(pictures) else f"{name} ({' '.join(those)})"
            rows.append(f"{told:80}{line}")
    return "".join(row.rstrip() + "\n" for row in rows)


def lines(run):
    """By the names of parameters; blocks that are like the first have its line."""
    objective, batch = plan.parts(run, None)
    boxed = jax.eval_shape(objective.init, jax.random.key(0), batch)
    columns = [names(rules.shardings(boxed, mesh)) for mesh in MESHES.values()]
    found = {}
    for name, leaf in names(nn.unbox(boxed)).items():
        cells = ["x".join(map(str, leaf.shape))]
        for column in columns:
            parts = [
                part if isinstance(part, str) else "+".join(part or "-")
                for part in column[name].spec
            ]
            cells.append(", ".join(parts) if any(column[name].spec) else "-")
        line = "".join(f"{cell:16}" for cell in cells)
        if found.setdefault(re.sub(r"block_\d+", "block_*", name), line) != line:
            found[name] = line
    return found


@pytest.mark.parametrize("case", CASES)
def test_shardings_are_as_reviewed(case):
    assert described(case) == (FOLDER / f"{case}.txt").read_text(), (
        "shardings have changed; if that is meant: python tests/planning/test_shardings.py"
    )


def test_shardings_of_latents_are_as_reviewed():
    assert latents() == (FOLDER / "latents.txt").read_text(), (
        "shardings have changed; if that is meant: python tests/planning/test_shardings.py"
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        (FOLDER / f"{case}.txt").write_text(described(case))
    (FOLDER / "latents.txt").write_text(latents())
