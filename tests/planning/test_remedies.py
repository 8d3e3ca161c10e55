"""Which changes are tried, in which order, on steps whose memory is known without a compiler."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import pytest
from test_plan import run_config
from test_show import PLAN

from vismem import cli
from vismem.errors import UserError
from vismem.parallel.mesh import axis_sizes, check_batch
from vismem.planning import machine, search
from vismem.planning.chips import Chip

CHIP = Chip(flops=1.0, memory=100.0, bandwidth=1.0, interconnect=1.0)
REMAT = {"none": 1.0, "dots": 0.5, "full": 0.25}


class Machine:
    """Eight chips of 100 bytes for a run whose state, gradients and activations have given sizes.

    Attributes:
      compiled: the runs that were.
    """

    def __init__(self, monkeypatch, state=0.0, gradients=0.0, activations=0.0):
        self.sizes, self.compiled = (state, gradients, activations), []
        monkeypatch.setattr(search, "prepare", self.prepare)
        monkeypatch.setattr(search, "make", self.make)
        self.devices = [None] * 8

    def mesh(self, config):
        return axis_sizes(config.mesh, len(self.devices))

    def prepare(self, config, devices):
        sizes = self.mesh(config)
        check_batch(config.batch_size, sizes, config.optimizer.accumulate)
        state, gradients, _ = self.sizes
        parts = sizes["fsdp"] * sizes["tensor"]
        return SimpleNamespace(state={"params": state / parts}, gradients=gradients / parts)

    def make(self, config, chip, devices):
        self.compiled.append(config)
        prepared = self.prepare(config, devices)
        mesh = self.mesh(config)
        rows = config.batch_size / 64 * 8 / (8 // mesh["tensor"])
        activations = self.sizes[2] * rows * REMAT[config.painter.remat]
        working = prepared.gradients + activations / config.optimizer.accumulate
        fits = prepared.state["params"] + working <= chip.memory
        return replace(
            PLAN,
            **{"chip": chip, "mesh": mesh, "batch_size": config.batch_size},
            **{"state": prepared.state, "working": working, "gradients": prepared.gradients},
            collectives={} if fits else None,
        )

    def remedy(self, **settings):
        config = run_config(**settings)
        plan = self.make(config, CHIP, self.devices)
        assert not plan.fits
        self.compiled.clear()
        return search.remedy(config, CHIP, self.devices, plan)


def test_the_state_is_parted_no_more_than_it_must_be(monkeypatch):
    chips = Machine(monkeypatch, state=300, gradients=60, activations=20)
    settings, plan = chips.remedy()
    assert settings == {"mesh.data": 1, "mesh.fsdp": 8}
    assert plan.fits
    assert len(chips.compiled) == 1  # what two and four parts would hold is known without
    smaller = Machine(monkeypatch, state=100, gradients=20, activations=20)
    assert smaller.remedy()[0] == {"mesh.data": 4, "mesh.fsdp": 2}


def test_activations_are_computed_again_or_made_for_fewer_rows(monkeypatch):
    chips = Machine(monkeypatch, state=40, activations=110)
    assert chips.remedy()[0] == {"painter.remat": "dots"}
    assert len(chips.compiled) == 1  # parting the state would never be enough
    chips = Machine(monkeypatch, state=40, activations=400)
    assert chips.remedy(**{"painter.remat": "full"})[0] == {"optimizer.accumulate": 2}
    assert search.single(run_config(), PLAN)[-1]
    for name in ("contrastive", "gan"):  # what is wrong for a picture would change
        assert not search.single(run_config(**{"objective.name": name}), PLAN)[-1]


def test_two_changes_where_one_is_not_enough(monkeypatch):
    chips = Machine(monkeypatch, state=160, activations=110)
    settings, plan = chips.remedy()
    assert plan.fits
    assert {"mesh.fsdp", "painter.remat"} <= settings.keys()
    assert len(chips.compiled) <= 4


def test_a_smaller_batch_is_the_last_resort(monkeypatch):
    """State, activations and rows would all three have to be made smaller."""
    chips = Machine(monkeypatch, state=720, activations=200)
    settings, plan = chips.remedy()
    assert settings == {
        **{"mesh.data": 1, "mesh.fsdp": 8, "painter.remat": "full"},
        "batch_size": 8,  # 16 would not fit
    }
    assert plan.fits
    *others, last = chips.compiled
    assert last.batch_size == 8
    assert all(config.batch_size == 64 for config in others)


def test_nothing_helps(monkeypatch):
    chips = Machine(monkeypatch, state=10_000, activations=10_000)
    settings, plan = chips.remedy()
    assert not settings
    assert not plan.fits
    assert not chips.compiled


def test_a_sweep_finds_mesh_and_batch(monkeypatch):
    chips = Machine(monkeypatch, state=200, gradients=20, activations=30)
    plans = list(search.sweep(run_config(batch_size=60), CHIP, chips.devices))
    meshes = [(plan.mesh["fsdp"], plan.mesh["tensor"]) for plan in plans[:4]]
    assert meshes == [(4, 1), (8, 1), (1, 4), (2, 4)]  # the state is too large for one chip
    assert plans[0].batch_size == 64  # the next that eight parts divide
    larger = plans[4:]
    assert [plan.batch_size for plan in larger] == [128]  # the fastest, which then does not fit
    assert larger[0].mesh == plans[0].mesh
    assert not larger[0].fits


def test_a_sweep_takes_smaller_batches_where_none_fits(monkeypatch):
    chips = Machine(monkeypatch, activations=700)
    *larger, last = search.sweep(run_config(batch_size=64), CHIP, chips.devices)
    assert last.fits
    assert not any(plan.fits for plan in larger)
    assert last.batch_size == 8
    none = Machine(monkeypatch, activations=90_000)
    assert not any(p.fits for p in search.sweep(run_config(), CHIP, none.devices))


def test_a_small_batch_is_rounded_up(monkeypatch):
    chips = Machine(monkeypatch, activations=1)
    first, *_ = search.sweep(run_config(batch_size=1), CHIP, chips.devices)
    assert first.batch_size == 8


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("objective.dept", 3, "objective.dept: .* did you mean 'depth'"),
        ("data.source", {"name": "wrld"}, "did you mean 'world'"),
    ],
)
def test_a_sweep_passes_over_no_mistake(key, value, said):
    with pytest.raises(UserError, match=said):
        next(search.sweep(run_config(**{key: value}), CHIP, jax.devices()[:1]))


def test_the_exit_code_of_a_sweep(monkeypatch, tmp_path, capsys):
    (tmp_path / "run.py").write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config(_):\n"
        "    return ConfigDict({'batch_size': 64, 'steps': 1, 'objective': {'name': 'products'}})\n"
    )
    command = ["plan", str(tmp_path / "run.py"), "--topology", "v5e:2x4", "--sweep"]
    for activations, slices, code in ((30, 1, 0), (90_000, 1, 1), (30, 2, 0)):
        chips = Machine(monkeypatch, activations=activations)
        monkeypatch.setattr(machine, "devices", lambda *_, d=chips.devices: (CHIP, d))
        assert cli.main([*command, f"--config.mesh.slices={slices}"]) == code
        first, *_, last = capsys.readouterr().out.splitlines()
        assert last.startswith("nothing fits" if code else "best: ")
        assert ("a slower network joins" in first) == (slices > 1)


@pytest.mark.parametrize(
    ("name", "slices", "slower"),
    [("v5e:16x16", 1, False), ("v5e:2x4", 2, True), ("h100:1x8", 1, False), ("h100:2x8", 1, True)],
)
def test_slices_and_hosts_of_gpus_are_joined_by_a_slower_network(name, slices, slower):
    assert machine.has_slower_links(name, slices) == slower
