from collections import namedtuple

import jax
import pytest
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vismem.models.layers import scans
from vismem.parallel.mesh import MeshConfig, make_mesh
from vismem.parallel.rules import platform, spec, warn_of_whole


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


def test_large_parameters_that_stay_whole_are_named(caplog):
    shapes = {
        name: jax.ShapeDtypeStruct(shape, "float32")
        for name, shape in {
            "model/odd/kernel": (1153, 1024),
            "model/even/kernel": (1152, 1024),
            "model/small/kernel": (3, 3),
        }.items()
    }

    def warned(**sizes):
        axes = ("slices", "data", "fsdp", "tensor")
        mesh = AbstractMesh(tuple(sizes.get(a, 1) for a in axes), axes)
        shardings = {
            name: NamedSharding(mesh, spec(("embed", "mlp"), x.shape, mesh))
            for name, x in shapes.items()
        }
        caplog.clear()
        warn_of_whole(shapes, shardings)
        return caplog.text

    assert not warned(data=8)
    assert not warned(fsdp=4, tensor=2)
    text = warned(fsdp=4)
    assert "whole on every device, as mesh.fsdp=4" in text
    assert text.rstrip().endswith("part none of the axes: model/odd/kernel (1153, 1024)")
    assert "more" not in text
    shapes |= {f"model/odd_{i}": shapes["model/odd/kernel"] for i in range(11)}
    text = warned(fsdp=4)
    assert "model/odd/kernel (1153, 1024), model/odd_0 (1153, 1024), " in text
    assert text.rstrip().endswith("model/odd_8 (1153, 1024), 2 more")


def test_a_step_is_traced_for_the_devices_of_its_mesh():
    device = namedtuple("AbstractDevice", "platform")("tpu")
    mesh = AbstractMesh((1,), ("data",), abstract_device=device)
    assert platform() == jax.default_backend()
    with jax.sharding.use_abstract_mesh(mesh):
        assert platform() == "tpu"
        assert scans(None)
    here = make_mesh(MeshConfig()).abstract_mesh
    with jax.sharding.use_abstract_mesh(here):
        assert platform() == jax.default_backend()
