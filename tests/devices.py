"""The environment of a process of its own with eight devices, since jax counts them once."""

import os

EIGHT = {
    # Without PJRT_NPROC, sharded steps that queue on few cores wait for each other for ever.
    "PJRT_NPROC": "16",
    "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8",
}
