"""What to change about a run: so that it fits, or so that it is fast."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from vismem.config import RunConfig
from vismem.errors import UserError
from vismem.planning.chips import Chip
from vismem.planning.plan import Plan, make, prepare

STRONGER = {"none": ("dots", "full"), "dots": ("full",), "full": ()}  # remat policies
TENSOR = (1, 4)  # degrees that a sweep tries
STEP = 4  # from one degree of fsdp that a sweep tries to the next

Settings = Mapping[str, Any]  # dotted key -> its value


def changed(config: RunConfig, settings: Settings) -> RunConfig:
    """The config with other values of some keys."""
    for key, value in settings.items():
        room, _, name = key.rpartition(".")
        if room:
            value = dataclasses.replace(getattr(config, room), **{name: value})
        config = dataclasses.replace(config, **{room or name: value})
    return config


def single(config: RunConfig, plan: Plan) -> list[list[Settings]]:
    """Changes that take less memory, three kinds of them, each from the cheapest on."""
    data, fsdp = plan.mesh["data"], plan.mesh["fsdp"]
    # Each chip keeps less of the state, and asks others for it more often.
    parted = [
        {"mesh.data": data // times, "mesh.fsdp": fsdp * times}
        for times in _doublings(2, data)
        if data % times == 0
    ]
    # Computes up to a third more.
    again = [{"painter.remat": remat} for remat in STRONGER[config.painter.remat]]
    # Asks for the parameters as often as it says.
    rows = config.batch_size // (data * fsdp * plan.mesh["slices"])
    accumulate = config.optimizer.accumulate
    smaller = [
        {"optimizer.accumulate": times}
        for times in _doublings(2 * accumulate, rows)
        if rows % times == 0
    ]
    # Wrong texts are those of the microbatch, and so is the mean over the tokens of texts.
    if config.objective["name"] in ("contrastive", "gan", "caption", "expand"):
        smaller = []
    return [parted, again, smaller]


def remedies(config: RunConfig, plan: Plan) -> Iterator[Settings]:
    """Changes alone, and then two at a time, from the cheapest on."""
    kinds = single(config, plan)
    yield from itertools.chain(*kinds)
    for one, other in itertools.combinations(kinds, 2):
        pairs = itertools.product(enumerate(one), enumerate(other))
        for (_, a), (_, b) in sorted(pairs, key=lambda pair: pair[0][0] + pair[1][0]):
            yield {**a, **b}


def remedy(
    config: RunConfig, chip: Chip, devices: Sequence[jax.Device], plan: Plan
) -> tuple[Settings, Plan]:
    """The cheapest change, or pair of changes, with which the run fits, and its plan; where there
    is none the largest `batch_size` that fits, besides such a pair if it must be; else no settings.

    Compilation is what takes long. What a chip holds of the state and of the gradients is known
    without it, and that parting them further leaves the activations as they are, once they are
    known: what cannot fit is not compiled.
    """

    def rest(settings: Settings) -> tuple[Any, ...]:  # what decides the activations
        return tuple(settings.get(key) for key in ("painter.remat", "optimizer.accumulate"))

    held = {plan.mesh["fsdp"]: sum(plan.state.values()) + plan.gradients}
    activations = {rest({}): plan.working - plan.gradients}
    for settings in remedies(config, plan):
        tried, fsdp = changed(config, settings), settings.get("mesh.fsdp", plan.mesh["fsdp"])
        if fsdp not in held:
            prepared = prepare(tried, devices)
            held[fsdp] = sum(prepared.state.values()) + prepared.gradients
        if held[fsdp] + activations.get(rest(settings), 0) > plan.memory:
            continue
        found = make(tried, chip, devices)
        if found.fits:
            return settings, found
        activations[rest(settings)] = found.working - found.gradients
    # What is left is another experiment, with fewer pictures a step.
    parted, again, _ = single(config, plan)
    least = {**(parted or [{}])[-1], **(again or [{}])[-1]}
    rows = config.batch_size // (plan.chips // plan.mesh["tensor"] * config.optimizer.accumulate)
    for times in (times for times in _doublings(2, rows) if rows % times == 0):
        for settings in ({}, least):
            fixed = held[settings.get("mesh.fsdp", plan.mesh["fsdp"])]
            if fixed + activations.get(rest(settings), math.inf) / times <= plan.memory:
                fewer = {**settings, "batch_size": config.batch_size // times}
                found = make(changed(config, fewer), chip, devices)
                if found.fits:
                    return fewer, found
    return {}, plan


def sweep(config: RunConfig, chip: Chip, devices: Sequence[jax.Device]) -> Iterator[Plan]:
    """Plans of several meshes; then of smaller batches on the one that takes the least memory, if
    none fits, or of larger ones on the fastest while they fit.

    A batch that a mesh does not divide is rounded up. Meshes on whose chips the state has no room
    are left out.
    """
    candidates = []
    for mesh in meshes(config, len(devices)):
        tried = changed(config, mesh)
        tried = changed(tried, {"batch_size": _rounded(config.batch_size, tried, len(devices))})
        candidates.append((sum(prepare(tried, devices).state.values()), tried))
    smallest = min(state for state, _ in candidates)
    plans = []
    for state, tried in candidates:
        if state <= max(smallest, chip.memory):
            plans.append((make(tried, chip, devices), tried))
            yield plans[-1][0]
    fitting = [pair for pair in plans if pair[0].fits]
    if fitting:
        best, tried = max(fitting, key=lambda pair: pair[0].rate)
        while best.fits:
            tried = changed(tried, {"batch_size": 2 * tried.batch_size})
            best = make(tried, chip, devices)
            yield best
        return
    least, tried = min(plans, key=lambda pair: pair[0].used)
    while not least.fits:
        half = _rounded(tried.batch_size // 2, tried, len(devices))
        if half == tried.batch_size:
            return
        tried = changed(tried, {"batch_size": half})
        least = make(tried, chip, devices)
        yield least


def meshes(config: RunConfig, devices: int) -> Iterator[Settings]:
    """Those that a sweep tries, the most alike copies of the parameters first."""
    slices = max(1, config.mesh.slices)
    if devices % slices:
        raise UserError(f"mesh.slices={slices}: does not divide {devices} devices")
    chips = devices // slices
    for tensor in TENSOR:
        if chips % tensor or config.painter.heads % tensor:
            continue
        rest = chips // tensor
        degrees = {d for d in (STEP**i for i in range(10)) if rest % d == 0} | {rest}
        for fsdp in sorted(degrees):
            yield {
                **{"mesh.data": rest // fsdp, "mesh.fsdp": fsdp, "mesh.tensor": tensor},
                "mesh.slices": slices,
            }


def _rounded(batch_size: int, config: RunConfig, devices: int) -> int:
    """`batch_size`, or the next larger that the mesh and its microbatches divide."""
    parts = devices // config.mesh.tensor * config.optimizer.accumulate
    return max(1, math.ceil(batch_size / parts)) * parts


def _doublings(first: int, last: int) -> list[int]:
    """first, 2 first, 4 first ... up to `last`."""
    return [first << i for i in range(max(0, last // first).bit_length())]
