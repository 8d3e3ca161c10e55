"""The command `vismem`, also as `python -m vismem`."""

import os
import sys

COMPUTE = ("train", "evaluate", "draw", "sweep")
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
THREADS = "16"


def use_huge_pages() -> None:
    """Starts the process again with memory in huge pages, where Linux has them and nothing else is
    set: a step on a CPU touches tens of thousands of fresh small ones, a tenth of its time and more
    (experiments/RESULTS.md, "The step"). glibc takes this setting at a process's start only."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ |= HUGE_PAGES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main() -> int:
    """Runs the process's command line; what computes, in huge pages.

    Virtual devices on a CPU get threads enough: with as many as it has processors, they wait for
    one another for ever once several steps are queued."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("PJRT_NPROC", THREADS)
    if sys.argv[1:] and sys.argv[1] in COMPUTE:
        use_huge_pages()
    from vismem import cli  # only in the process that stays

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
