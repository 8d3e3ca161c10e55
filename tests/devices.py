"""The environment of a process of its own with several devices, since jax counts them once."""

import os


def environment(count: int) -> dict[str, str]:
    """What makes so many devices of the CPU."""
    flag = f"--xla_force_host_platform_device_count={count}"
    return {
        # Without PJRT_NPROC, sharded steps that queue on few cores wait for each other for ever.
        "PJRT_NPROC": str(2 * count),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}",
    }


EIGHT = environment(8)
