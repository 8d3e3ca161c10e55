"""What to change about a run: so that it fits, or so that it is fast."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax

from vismem.config import RunConfig
from vismem.errors import UserError
from vismem.parallel.mesh import MeshConfig
from vismem.planning.chips import Chip
from vismem.planning.plan import Plan, make

STRONGER = {"none": ("dots", "full"), "dots": ("full",), "full": ()}  # remat policies


def with_mesh(config: RunConfig, data: int, fsdp: int, tensor: int) -> RunConfig:
    mesh = MeshConfig(data=data, fsdp=fsdp, tensor=tensor, slices=config.mesh.slices)
    return dataclasses.replace(config, mesh=mesh)


def remedies(config: RunConfig, plan: Plan) -> Iterator[tuple[str, RunConfig]]:
    """Changes that take less memory, each alone, from the cheapest on: settings, and the config."""
    data, fsdp, tensor = (plan.mesh[axis] for axis in ("data", "fsdp", "tensor"))
    if data > 1:  # each chip keeps less of the state, and asks others for it more often
        changed = with_mesh(config, 1, data * fsdp, tensor)
        yield f"mesh.data=1 mesh.fsdp={data * fsdp}", changed
    for remat in STRONGER[config.painter.remat]:  # computes up to a third more
        painter = dataclasses.replace(config.painter, remat=remat)
        yield f"painter.remat={remat}", dataclasses.replace(config, painter=painter)
    rows = config.batch_size // (data * fsdp * plan.mesh["slices"])
    times = config.optimizer.accumulate
    while (times := 2 * times) <= rows:  # asks for the parameters as often as it says
        if rows % times == 0:
            optimizer = dataclasses.replace(config.optimizer, accumulate=times)
            changed = dataclasses.replace(config, optimizer=optimizer)
            yield f"optimizer.accumulate={times}", changed


def remedy(
    config: RunConfig, chip: Chip, devices: Sequence[jax.Device], plan: Plan
) -> tuple[str, Plan]:
    """The cheapest change with which the run fits, and its plan; "" if none does alone."""
    for settings, changed in remedies(config, plan):
        found = make(changed, chip, devices)
        if found.fits:
            return settings, found
    return "", plan


def sweep(config: RunConfig, chip: Chip, devices: Sequence[jax.Device]) -> Iterator[Plan]:
    """Plans of several meshes, and then of larger batches on the best of them while they fit."""
    chips, best = len(devices) // config.mesh.slices, None
    for tensor in (1, 4):
        for fsdp in sorted({1, min(16, chips // tensor), chips // tensor}):
            if chips % (fsdp * tensor) or config.painter.heads % tensor:
                continue
            changed = with_mesh(config, chips // (fsdp * tensor), fsdp, tensor)
            try:
                plan = make(changed, chip, devices)
            except UserError:  # the batch does not divide over this mesh
                continue
            yield plan
            if plan.fits and (best is None or plan.seconds < best[0].seconds):
                best = plan, changed
    while best and best[0].fits:
        larger = dataclasses.replace(best[1], batch_size=2 * best[1].batch_size)
        best = make(larger, chip, devices), larger
        yield best[0]
