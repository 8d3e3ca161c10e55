"""What the makers publish of their chips."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """Figures of one chip.

    Attributes:
      flops: FLOP/s of dense bfloat16 products.
      memory: bytes of HBM. bandwidth: bytes/s of it.
      interconnect: bytes/s that the chip sends over all its links to others of the slice; it
        receives as many.
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
