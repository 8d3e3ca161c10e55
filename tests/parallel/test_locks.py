"""A folder is one command's at a time."""

import subprocess
import sys

import pytest

from vismem.errors import UserError
from vismem.parallel import locks

HOLD = "import sys; from vismem.parallel.locks import held; from pathlib import Path\n"
HOLD += "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_another_process_is_kept_out_until_the_first_ends(tmp_path):
    folder = tmp_path / "new" / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is at work"), locks.held(folder):
            pass
        other.kill()
    with locks.held(folder):
        pass
    with locks.held(folder):  # let go of where it ends well, too
        pass


def test_of_a_host_that_may_be_gone_a_lock_is_waited_for(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(locks.time, "sleep", waits.append)
    monkeypatch.setattr(locks.time, "monotonic", lambda: 10.0 * len(waits))
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        (tmp_path / locks.FILE).write_text("elsewhere")
        with pytest.raises(UserError, match="another process is at work"), locks.held(tmp_path):
            pass
        other.kill()
    assert sum(waits) >= locks.PATIENCE


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), locks.held(tmp_path / "file" / "run"):
        pass
