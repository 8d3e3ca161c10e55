"""vismem: draws images from language, one step at a time, and remembers."""

__version__ = "0.1.0"


def __getattr__(name):
    if name in ("load", "critic", "expander", "reader"):
        from vismem.training import run  # on first use: jax takes seconds to import

        return getattr(run, name)
    raise AttributeError(f"module 'vismem' has no attribute {name!r}")
