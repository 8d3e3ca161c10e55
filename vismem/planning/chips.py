"""What the makers publish of their chips."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """Figures of one chip.

    Attributes:
      flops: FLOP/s of dense bfloat16 products.
      memory: bytes of HBM. bandwidth: bytes/s of it.
      interconnect: bytes/s that the chip sends over all its links to others of the slice, or of the
        host; it receives as many.
    """

    flops: float
    memory: float
    bandwidth: float
    interconnect: float


# TPUs: cloud.google.com/tpu/docs, the page of each version; half of the bidirectional bandwidth
# between chips (v5e: 4 links of 50 GB/s each way).
CHIPS = {
    "v4": Chip(275e12, 32 * 2**30, 1_228e9, 300e9),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 200e9),
    "v5p": Chip(459e12, 95 * 2**30, 2_765e9, 600e9),
    "v6e": Chip(918e12, 32 * 2**30, 1_638e9, 400e9),
}


@dataclass(frozen=True)
class Gpu(Chip):
    """What a GPU's compiler must know beside.

    Attributes:
      capability: compute capability, (major, minor).
      cores: streaming multiprocessors. units: of float32 in each. clock: GHz.
      cache: bytes of L2. shared: bytes that programs may share in a core.
    """

    capability: tuple[int, int]
    cores: int
    units: int
    clock: float
    cache: int
    shared: int


# NVIDIA's data sheets of the SXM modules, and the table of compute capabilities in the CUDA
# programming guide. NVLink one way; between hosts it is slower than that.
GPUS = {
    "a100": Gpu(312e12, 80e9, 2_039e9, 300e9, (8, 0), 108, 64, 1.41, 40 << 20, 164 << 10),
    "h100": Gpu(989e12, 80e9, 3_350e9, 450e9, (9, 0), 132, 128, 1.98, 50 << 20, 228 << 10),
    "h200": Gpu(989e12, 141e9, 4_800e9, 450e9, (9, 0), 132, 128, 1.98, 50 << 20, 228 << 10),
}
