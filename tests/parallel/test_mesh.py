import jax
import pytest

from vismem.errors import UserError
from vismem.parallel.mesh import MeshConfig, check_batch, make_mesh


def test_one_device_is_a_mesh_of_one():
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    assert dict(mesh.shape) == {"slices": 1, "data": 1, "fsdp": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"data": 3},
            "mesh.data=3, mesh.fsdp=1, mesh.tensor=1, mesh.slices=1: takes 3 devices",
        ),
        ({"fsdp": 3}, "their product may be 1"),
        ({"data": -1, "tensor": -1}, "only one axis may be -1"),
        ({"tensor": 0}, "mesh.tensor=0: must be at least 1, or -1"),
        ({"fsdp": -2}, "mesh.fsdp=-2: must be at least 1, or -1"),
    ],
)
def test_a_mesh_that_does_not_fit(config, said):
    with pytest.raises(UserError, match=said):
        make_mesh(MeshConfig(**config), jax.devices()[:1])


def test_a_batch_that_does_not_divide():
    mesh = {"slices": 1, "data": 4, "fsdp": 2, "tensor": 1}
    check_batch(48, mesh, accumulate=3)
    with pytest.raises(UserError, match=r"batch_size=20: .* multiple of 8 .*; 16 or 24 would fit"):
        check_batch(20, mesh)
    with pytest.raises(UserError, match=r"multiple of 24 .*; 24 would fit"):
        check_batch(16, mesh, accumulate=3)
