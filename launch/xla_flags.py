"""Flags of the compiler for a run's machine, by purpose, each with its reason.

From openxla.org/xla/flags_guidance and docs.jax.dev/en/latest/gpu_performance_tips.html; none has
been measured with this project. `--env XLA_FLAGS=...` or `LIBTPU_INIT_ARGS=...` replaces them all.
"""

# The variable that each kind of machine reads, and purpose -> flag -> value.
FLAGS = {
    "gpu": (
        "XLA_FLAGS",
        {
            # Parameters sharded over fsdp are gathered block by block: begun as soon as they can
            # be, the gathers run under the blocks before.
            "overlap": {"xla_gpu_enable_latency_hiding_scheduler": "true"},
            # The steps of a chain are a loop: what the next turn needs of other devices is asked
            # for in this one.
            "pipelined loops": {
                "xla_gpu_enable_pipelined_all_gather": "true",
                "xla_gpu_enable_pipelined_all_reduce": "true",
                "xla_gpu_enable_pipelined_reduce_scatter": "true",
            },
        },
    ),
    "tpu": (
        "LIBTPU_INIT_ARGS",
        {
            # As for GPUs; the guide wants the three together.
            "pipelined loops": {
                "xla_tpu_enable_ici_ag_pipelining": "true",
                "xla_should_allow_loop_variant_parameter_in_chain": "enabled",
                "xla_should_add_loop_invariant_op_in_chain": "enabled",
            },
            # Gradients are summed over the slow network between slices while the backward pass
            # still runs.
            "overlap over slices": {
                "xla_tpu_enable_data_parallel_all_reduce_opt": "true",
                "xla_tpu_data_parallel_opt_different_sized_ops": "true",
            },
        },
    ),
}


def environment(machine: str) -> dict[str, str]:
    """The variable with all flags of a machine: "gpu", "tpu" or "cpu", which has none."""
    if machine not in FLAGS:
        return {}
    variable, purposes = FLAGS[machine]
    flags = {name: value for group in purposes.values() for name, value in group.items()}
    return {variable: " ".join(f"--{name}={value}" for name, value in flags.items())}
