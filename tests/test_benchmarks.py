"""A benchmark's user makes the mistakes that a command's does: one line on stderr, exit code 2."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
EXPERIMENT = """
from ml_collections import ConfigDict

def get_config(argument):
    return ConfigDict({"seed": 0})

def sweep():
    return {"rows": {"flow": {}, "regress": {}}}
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("critic.py nowhere towers", "nowhere: not a run"),
        ("data.py --folder nowhere", "nowhere"),
        ("diversity.py nowhere", "nowhere: not a run"),
        ("expansion.py nowhere expander", "nowhere: not a run"),
        ("feedback.py nowhere towers", "nowhere: not a run"),
        ("loop.py nowhere.py", "nowhere.py: no such config file"),
        ("rows.py nowhere.py", "nowhere.py: no such config file"),
        ("rows.py ways.py flow regres", "'regres': not a row of ways.py; did you mean 'regress'?"),
        ("scaling.py measured nowhere.py", "nowhere.py: no such config file"),
    ],
)
def test_a_mistake_is_one_line(command, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "ways.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOLDER)  # as Python does for a script: some share code
    monkeypatch.setattr("sys.argv", command.split())
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # with which none starts itself again
    name = command.split()[0]
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"{name}: ")
    assert said in line
    assert line.count("\n") == 1
