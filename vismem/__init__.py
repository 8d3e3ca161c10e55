"""vismem: draws images from language, one step at a time, and remembers."""

__version__ = "0.1.0"


def __getattr__(name):
    if name == "load":  # on first use: it brings jax, which takes seconds to import
        from vismem.training.run import load

        return load
    raise AttributeError(f"module 'vismem' has no attribute {name!r}")
