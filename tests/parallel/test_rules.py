import pytest
from jax.sharding import PartitionSpec as P

from vismem.parallel.rules import spec


class Mesh:
    def __init__(self, **shape):
        self.shape = shape


MESH = Mesh(slices=1, data=2, fsdp=2, tensor=4)


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        (("embed", "mlp"), (8, 16), P(("fsdp",), ("tensor",))),
        (("heads", "embed"), (8, 16), P(("tensor",), ("fsdp",))),
        (("batch", None), (8, 3), P(("data", "fsdp"), None)),
        # What does not divide, is not listed or finds its mesh axis taken is whole.
        (("embed", "mlp"), (7, 16), P(None, ("tensor",))),
        (("vocab", "embed"), (257, 16), P(None, ("fsdp",))),
        (("norm",), (8,), P(None)),
        (("mlp", "heads"), (8, 8), P(("tensor",), None)),
        (("batch", "embed"), (8, 8), P(("data", "fsdp"), None)),
    ],
)
def test_rules(axes, shape, expected):
    assert spec(axes, shape, MESH) == expected


def test_mesh_axes_of_one_are_left_out():
    assert spec(("embed", "mlp"), (8, 8), Mesh(slices=1, data=8, fsdp=1, tensor=1)) == P(None, None)
