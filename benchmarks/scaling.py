"""What a step takes against what is asked of it: measured on this machine, planned for others.

    python benchmarks/scaling.py measured [experiments/quickstart.py] [--config.KEY=VALUE ...]
    python benchmarks/scaling.py planned experiments/xl.py:S [--topologies v5e:2x4 v5e:8x8 ...]

`measured` changes one key at a time, on one device, and then shares the batch among 2, 4, ... of
those that there are (CPUs have XLA_FLAGS=--xla_force_host_platform_device_count=8): seconds of a
step of random batches, the best of a few, and the memory that XLA sets aside for it on a device.
`planned` compiles the step for 8, 64, 256 and 1,024 chips,
with parameters whole on each and parted among eight: bytes that a chip sends a step, by collective,
with as many examples a chip throughout. It needs `pip install -e ".[plan]"`.
"""

import argparse
import dataclasses
import sys
import time

import jax
import numpy as np

from vismem import config as configs
from vismem.errors import exit_code
from vismem.parallel import hosts
from vismem.parallel.mesh import make_mesh
from vismem.planning import plan
from vismem.training.state import Layout
from vismem.training.step import compiled, make_train_step

VARIED = {
    "objective.unroll": (1, 2, 4, 8),
    "memory.slots": (4, 16, 64),
    "data.size": (32, 64),
    "batch_size": (8, 16, 32, 64),
}
TOPOLOGIES = ("v5e:2x4", "v5e:8x8", "v5e:16x16", "v5p:8x8x16")
FSDP = (1, 8)
MiB = 2**20


def measured(file: str, settings: list[str], tries: int) -> None:
    """A line for each value of each key in VARIED, and for each number of devices."""
    devices = [2**i for i in range(1, jax.device_count().bit_length())]
    rows = [(key, value, 1) for key, values in VARIED.items() for value in values]
    rows += [("devices", count, count) for count in devices]
    print(f"{'':24} {'ms a step':>10} {'MiB':>8} {'compiled in':>12}")
    for key, value, count in rows:
        changed = settings if key == "devices" else [*settings, f"--config.{key}={value}"]
        config = configs.run_config(configs.override(configs.load(file), changed))
        seconds, memory, compilation = step_cost(config, count, tries)
        print(
            f"{f'{key}={value}':24} {1e3 * seconds:10.1f} {memory / MiB:8.0f} "
            f"{compilation:10.1f} s",
            flush=True,
        )


def step_cost(config: configs.RunConfig, devices: int, tries: int) -> tuple[float, int, float]:
    """Seconds of a step, a device's bytes beside its state, and seconds of compilation."""
    mesh = make_mesh(config.mesh, jax.devices()[:devices])
    objective, shapes = plan.parts(config, mesh)
    layout = Layout(objective, config.optimizer, shapes, mesh, steps=1000)
    step = make_train_step(objective, layout.optimizer, config.ema, config.optimizer.accumulate)
    begun = time.perf_counter()
    program = compiled(step, layout.shardings, mesh).lower(layout.shapes, shapes).compile()
    compilation = time.perf_counter() - begun
    rng = np.random.default_rng(0)
    batch = hosts.put(
        {
            name: rng.integers(0, 2 if x.dtype == bool else 250, x.shape).astype(x.dtype)
            for name, x in shapes.items()
        },
        mesh,
    )
    state, best = layout.init(seed=0), float("inf")
    for _ in range(tries):
        begun = time.perf_counter()
        state, metrics = program(state, batch)
        jax.block_until_ready(metrics)
        best = min(best, time.perf_counter() - begun)
    return best, program.memory_analysis().temp_size_in_bytes, compilation


def planned(file: str, settings: list[str], topologies: list[str], per_chip: int) -> None:
    """A line for each topology and mesh."""
    from vismem.planning import machine

    for name in topologies:
        chip, devices = machine.devices(name)
        for fsdp in FSDP:
            config = configs.run_config(configs.override(configs.load(file), settings))
            mesh = dataclasses.replace(config.mesh, data=-1, fsdp=fsdp, tensor=1)
            batch_size = per_chip * len(devices)
            config = dataclasses.replace(config, mesh=mesh, batch_size=batch_size)
            found = plan.make(config, chip, devices)
            sent = ", ".join(
                f"{kind} {traffic.bytes / MiB:,.1f}"
                for kind, traffic in (found.collectives or {}).items()
            )
            print(
                f"{name:12} {found.chips:5} chips, fsdp={fsdp}: {found.used / MiB:,.0f} MiB held; "
                f"MiB sent: {sent or 'does not fit'}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["measured", "planned"])
    parser.add_argument("file", nargs="?", default="experiments/quickstart.py")
    parser.add_argument("--tries", type=int, default=5, help="steps, of which the best counts")
    parser.add_argument("--topologies", nargs="+", default=TOPOLOGIES)
    parser.add_argument("--per-chip", type=int, default=4, help="examples")
    options, settings = parser.parse_known_args()
    if options.what == "measured":
        measured(options.file, settings, options.tries)
    else:
        planned(options.file, settings, options.topologies, options.per_chip)


if __name__ == "__main__":
    sys.exit(exit_code("scaling.py", main))
