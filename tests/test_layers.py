"""Which room of the library may import which: a rule among folders, read from the tree."""
import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import em_notes

PACKAGE = Path(em_notes.__file__).parent

# A room is a folder, or a module at the top. What it may import: rooms, and what these may import.
# Rooms that aren't here are on top, such as widgets and estimators: they may import all, and nothing here imports them.
# A model meets a step in the driver's slots alone: neither stands in the other's line.
BELOW = {
    "protocol": (), "settings": (),
    "book": (),  # a lesson: numpy, scipy and earlier lessons
    "data": ("protocol", "settings", "book"),
    "engine": ("data",),
    "families": ("engine",),
    "steps": ("protocol", "settings", "book"),
    "driver": ("steps", "data"),
    "starts": ("driver", "families"), "laws": ("driver",), "after": ("driver", "laws"), "save": ("driver",),
    "models": ("families",),
}
STARTS = "starts"  # a model's own `start` is a line over these; that line may name no more
LESSONS_USE = {"numpy", "scipy"}
HEAVY = {"IPython", "jupyterlab", "sklearn", "pandas", "matplotlib"}  # for those on top
NEVER = {"nbdev", "fastcore"}


def modules(package=PACKAGE):
    "Name -> file, of all modules but the packages' own: 'book.jensen', 'driver'."
    files = (f for f in sorted(package.rglob("*.py")) if not f.name.startswith("_"))
    return {".".join(f.relative_to(package).with_suffix("").parts): f for f in files}


def room(module):
    return module.split(".")[0]


def imports(module, source, known, package="em_notes"):
    """What a module imports, at its top or within a function: whole names, ours by their place in the package.

    A name imported from a package is a module where there is one, else the package itself ('' is em_notes)."""
    def ours(parts):
        while parts and ".".join(parts) not in known and not any(m.startswith(".".join(parts) + ".") for m in known):
            parts = parts[:-1]
        return "." + ".".join(parts)

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                yield ours(parts[1:]) if parts[0] == package else alias.name
        elif isinstance(node, ast.ImportFrom):
            start = (node.module or "").split(".") if node.module else []
            if node.level:
                here = module.split(".")
                start = here[:len(here) - node.level] + start
            elif start[:1] == [package]:
                start = start[1:]
            else:
                yield node.module
                continue
            for alias in node.names:
                if alias.name != "__version__":
                    yield ours([*start, alias.name])


def graph(package=PACKAGE):
    "Module -> the set of what it imports."
    found = modules(package)
    return {m: set(imports(m, f.read_text(encoding="utf-8"), found, package.name)) for m, f in found.items()}


def allowed(name):
    "The rooms that a room may import, those below included."
    rooms = {name, *BELOW[name]}
    for below in BELOW[name]:
        rooms |= allowed(below)
    return rooms


def by_strings(source):
    "Calls that import a module by a name that only exists at run time."
    for node in ast.walk(ast.parse(source)):
        name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if name in {"import_module", "__import__"}:
            yield f"line {node.lineno}: {ast.unparse(node)}"


FOUND = modules()
ARROWS = graph()
OURS = {m: {i[1:] for i in found if i.startswith(".")} for m, found in ARROWS.items()}


@pytest.mark.parametrize("module", FOUND)
def test_a_module_imports_only_what_is_below_it(module):
    here = room(module)
    rooms = allowed(here) | ({STARTS} if here == "models" else set()) if here in BELOW else {room(m) for m in FOUND}
    assert {m for m in OURS[module] if room(m) not in rooms} == set()


@pytest.mark.parametrize("module", [m for m in FOUND if room(m) == "book"])
def test_a_lesson_imports_earlier_lessons_numpy_and_scipy(module):
    number = {m: re.search(r"File to edit: .*/(\d+)_\w+\.ipynb", FOUND[m].read_text(encoding="utf-8"))[1]
              for m in FOUND if room(m) == "book"}
    assert {m for m in OURS[module] if number.get(m, module) >= number[module]} == set()  # nor what isn't there
    others = {i.split(".")[0] for i in ARROWS[module] if not i.startswith(".")}
    assert others <= LESSONS_USE | sys.stdlib_module_names


def test_no_circles():
    try:
        list(TopologicalSorter(OURS).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", FOUND)
def test_no_module_is_imported_through_a_string(module):
    assert list(by_strings(FOUND[module].read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("module", FOUND)
def test_modules_are_light(module):
    others = {i.split(".")[0] for i in ARROWS[module]}
    assert not others & (NEVER | HEAVY if room(module) in BELOW else NEVER)


def test_public_names_exist():
    assert set(em_notes.__all__) <= set(dir(em_notes))
    assert all(getattr(em_notes, name).__doc__ for name in em_notes.__all__)


# The tests above would pass on a reader that sees nothing.

def test_every_way_to_import_is_seen(tmp_path):
    package = tmp_path / "pkg"
    for name, source in {
        "driver.py": "from . import steps\nfrom .data import rows as r\nimport numpy as np",
        "steps.py": "def late():\n    import pkg.models.hmm\n    from pkg import driver",
        "data/rows.py": "from ..protocol import Stats\nfrom .. import Model",
        "models/hmm.py": "from ..data.rows import Data\nfrom .mixture import Mixture",
        "models/mixture.py": "from importlib import import_module\nimport_module('pkg.steps')", "protocol.py": "Stats = 1",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source)
    assert graph(package) == {
        "driver": {".steps", ".data.rows", "numpy"}, "steps": {".models.hmm", ".driver"}, "protocol": set(),
        "data.rows": {".protocol", "."}, "models.hmm": {".data.rows", ".models.mixture"}, "models.mixture": {"importlib"},
    }
    assert len(list(by_strings((package / "models/mixture.py").read_text()))) == 1


def test_the_rule_is_what_the_design_says():
    assert "steps" not in allowed("models") and "models" not in allowed("steps")
    assert allowed("book") == {"book"} and "driver" not in allowed("families")
    assert all(set(below) <= set(BELOW) for below in BELOW.values())
