"""Many tests compile the same small programs, in one process after the other: they share what is
compiled, for as long as the tests run. And what runs a few times need not be compiled well:
without its backend's optimisations, and without the emitters of fusions that go through MLIR, XLA
compiles a gradient on eight devices in a third of the time.
"""

import importlib.metadata
import os
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _shared = tempfile.TemporaryDirectory(prefix="vismem-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _shared.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
_flag, _flags = "--xla_cpu_use_fusion_emitters=false", os.environ.get("XLA_FLAGS", "")
if importlib.metadata.version("jaxlib").startswith("0.10.") and _flag not in _flags:
    os.environ["XLA_FLAGS"] = f"{_flags} {_flag}".strip()  # later ones end at unknown flags
