"""The command `vismem`, also as `python -m vismem`."""

import os
import sys
from pathlib import Path

COMPUTE = ("train", "evaluate", "draw", "sweep")
THREADS = "16"
LARGEST_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages")


def memory_settings() -> dict[str, str]:
    """Environment with which glibc's malloc keeps what a step on a CPU needs from step to step.

    XLA:CPU allocates it at once, and frees it. glibc maps it anew every time, 164 MB in the
    quickstart, and the kernel fills it with zeros: a quarter of a step's time in small pages and a
    tenth in huge ones (experiments/RESULTS.md, "The step"). Told of pages of 1 GB, of which none
    has to be there, it lets a thread's heap grow to 4 GB, not to 64 MB, and what the heap has had
    it keeps; what is larger still comes anew, in small pages. Where such pages are unknown, or some
    are reserved for somebody, all comes anew, in huge ones.
    """
    try:
        unused = LARGEST_PAGES.read_text().strip() == "0"
    except OSError:
        unused = False
    kept = f"glibc.malloc.hugetlb={1 << 30}:glibc.malloc.trim_threshold={1 << 40}"
    return {"GLIBC_TUNABLES": kept if unused else "glibc.malloc.hugetlb=1"}


def keep_memory() -> None:
    """Starts the process again with `memory_settings`, on Linux and where nothing else is set:
    glibc takes them at a process's start only."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ |= memory_settings()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main() -> int:
    """Runs the process's command line; what computes, with memory that it keeps.

    Virtual devices on a CPU get threads enough: with as many as it has processors, they wait for
    one another for ever once several steps are queued."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("PJRT_NPROC", THREADS)
    if sys.argv[1:] and sys.argv[1] in COMPUTE:
        keep_memory()
    from vismem import cli  # only in the process that stays

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
