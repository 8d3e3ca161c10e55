import jax
import numpy as np
import pytest

from vismem.errors import UserError
from vismem.parallel import hosts


class Device:
    def __init__(self, process_index):
        self.process_index = process_index


class Mesh:
    """Devices of some hosts, one host's after the other's, laid out in order."""

    def __init__(self, count, **shape):
        self.shape = {"slices": 1, "data": 1, "fsdp": 1, "tensor": 1} | shape
        sizes = tuple(self.shape.values())
        each = np.prod(sizes) // count
        devices = [Device(i // each) for i in range(np.prod(sizes))]
        self.devices = np.array(devices, object).reshape(sizes)


@pytest.mark.parametrize(
    ("count", "shape", "parts"),
    [
        (4, {"data": 8}, [(0, 4), (1, 4), (2, 4), (3, 4)]),
        (4, {"slices": 2, "fsdp": 4}, [(0, 4), (1, 4), (2, 4), (3, 4)]),
        (4, {"data": 2, "tensor": 4}, [(0, 2), (0, 2), (1, 2), (1, 2)]),
        (4, {"tensor": 8}, [(0, 1)] * 4),
        (1, {"data": 2, "fsdp": 2, "tensor": 2}, [(0, 1)]),
    ],
    ids=str,
)
def test_hosts_that_hold_the_same_rows_read_the_same_part(monkeypatch, count, shape, parts):
    monkeypatch.setattr(jax, "process_count", lambda: count)
    for host, part in enumerate(parts):
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        assert hosts.share(Mesh(count, **shape)) == part
        assert hosts.is_first_reader(Mesh(count, **shape)) == (part not in parts[:host])


def test_a_mesh_whose_parts_overlap_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match=r"'data': 3.* does not part evenly over 2 hosts"):
        hosts.share(Mesh(2, data=3, tensor=2))


@pytest.mark.parametrize(("count", "index"), [("two", "0"), ("2", "2"), ("2", "one")])
def test_processes_that_cannot_meet_are_one_line(monkeypatch, count, index):
    monkeypatch.setenv("JAX_NUM_PROCESSES", count)
    monkeypatch.setenv("JAX_PROCESS_ID", index)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=f"JAX_NUM_PROCESSES={count}.*set both"), hosts.joined():
        raise AssertionError


def test_one_process_does_everything_itself():
    with hosts.joined():
        assert hosts.on_first(lambda *x: x, 1, "a") == (1, "a")
        tree = {"x": np.arange(3)}
        assert hosts.local(tree) is tree
        assert hosts.gather(tree) == [tree]
