"""Many tests compile the same small programs, in one process after the other: they share what is
compiled, for as long as the tests run. And what runs a few times need not be compiled well:
without its backend's optimisations XLA compiles a conversation's gradient in half the time; and
where it makes none, without its emitters of fusions, which go through MLIR, the gradients of
objectives on eight devices in a third (two of objectives/test_meshes.py: 29 s of CPU for 80).
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
