"""A run that costs nothing: counts to END, saves when told to stop, and goes on from there.

python counter.py FOLDER END [EXIT_CODE]
"""

import os
import pathlib
import signal
import sys
import time

folder, end = pathlib.Path(sys.argv[1]), int(sys.argv[2])
code = int(sys.argv[3]) if len(sys.argv) > 3 else 0
saved = folder / "count"
count = int(saved.read_text()) if saved.exists() else 0


def stop(*_):
    saved.write_text(str(count))
    sys.exit(42)


signal.signal(signal.SIGTERM, stop)
(folder / "pid").write_text(str(os.getpid()))
print(f"from {count}, process {os.environ.get('JAX_PROCESS_ID', 0)}", flush=True)
while count < end:
    time.sleep(0.05)
    count += 1
    (folder / "seen").write_text(str(count))
sys.exit(code)
