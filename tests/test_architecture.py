"""The rooms: what may import what, what stays light, and how files are named."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vismem

PACKAGE = Path(vismem.__file__).parent
# Imports point up this list only.
ROOMS = [
    *("worlds", "parallel", "data", "models", "pretrained", "objectives", "drawing", "evaluation"),
    *("training", "planning", "reports", "commands", "cli", "__main__"),
]
SHARED = {"errors", "registry", "random", "config"}  # usable by every room


def room(module: str) -> str:
    """vismem.data.world -> data; vismem -> ""."""
    return [*module.split("."), ""][1]


def imports(path: Path, inside_functions: bool = True) -> set[str]:
    """Modules of vismem that a file imports or names in a registry's table ("module:attribute")."""
    tree = ast.parse(path.read_text())
    if not inside_functions:
        tree.body = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    package = ("vismem", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"^(vismem[.\w]*):\w+$", node.value))
    return {m for m in found if m.split(".")[0] == "vismem"}


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_is_on_the_list():
    found = {p.name for p in PACKAGE.iterdir() if any(p.glob("**/*.py"))}
    found |= {p.stem for p in PACKAGE.glob("*.py")} - {"__init__"}
    assert found <= {*ROOMS, *SHARED}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_up_the_list(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own in ("__init__", "config"):  # these reach into rooms on first use only
        reached = {room(m) for m in imports(path, inside_functions=False)} - {""}
        assert reached <= SHARED
        return
    allowed = SHARED | set(ROOMS[: ROOMS.index(own) + 1] if own in ROOMS else [])
    known = {m for m in imports(path) if room(m) in {*ROOMS, *SHARED}}
    assert {m for m in known if room(m) not in allowed} == set()


def test_only_the_command_imports_cli():
    importing = [p.name for p in FILES if "vismem.cli" in imports(p)]
    assert importing == ["__main__.py"]


def test_files_are_named_for_their_subject():
    vague = {"utils", "util", "common", "helpers", "helper", "misc"}
    parts = {part for p in FILES for part in p.relative_to(PACKAGE).with_suffix("").parts}
    assert parts & vague == set()


@pytest.mark.parametrize(
    "code",
    [
        "import vismem",
        "import vismem.worlds",
        "import vismem.config, vismem.registry, vismem.errors",
        "from vismem import cli; cli.main(['train', 'missing.py'])",
        "from vismem import config; config.override(config.ConfigDict(), ['--config.text=lstm'])",
        "from vismem import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_is_light(code):
    check = "; import sys; assert 'jax' not in sys.modules, 'jax was imported'"
    separator = "\n" if "\n" in code else "; "
    subprocess.run([sys.executable, "-c", code + separator + check[2:]], check=True)
