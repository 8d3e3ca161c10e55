"""Many tests compile the same small programs, in one process after the other: they share what is
compiled, for as long as the tests run. And what runs a few times need not be compiled well:
with its backend's optimisations off XLA compiles a conversation's gradient in half the time.
"""

import os
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _shared = tempfile.TemporaryDirectory(prefix="vismem-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _shared.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
