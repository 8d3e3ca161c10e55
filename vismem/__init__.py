"""vismem: draws images from language, one step at a time, and remembers."""

__version__ = "0.1.0"
