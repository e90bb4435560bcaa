"""The arrows between modules stay as drawn: models and algorithms never import each other."""
import ast
from pathlib import Path
import pytest
import em_notes

PACKAGE = Path(em_notes.__file__).parent
MODULES = sorted(p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("_"))
ALLOWED = { # module -> what it may import of ours; of `em` a model takes Stats alone
    "jensen": set(), "free_energy": {"jensen"}, "em": set(), "data": set(), "datasets": set(), "widgets": set(),
    "kernels": {"data"}, "compiled": {"data", "kernels", "lanes"}, "gaussian": {"data", "em", "kernels"},
    "families": {"data", "em", "gaussian", "kernels"}, "mixture": {"data", "em", "families", "gaussian", "kernels"},
    "lanes": set(), "chain_kernels": {"kernels", "lanes"}, "path_kernels": {"chain_kernels", "lanes"}, "emission_kernels": {"chain_kernels", "compiled", "kernels", "lanes"}, "chains": {"chain_kernels", "families", "kernels", "path_kernels"},
    "sequences": {"data"}, "hmm": {"chains", "data", "em", "emission_kernels", "families", "gaussian", "kernels", "sequences"},
}
HEAVY = {"nbdev", "fastcore", "IPython", "jupyterlab", "sklearn", "pandas"}

def imports(module):
    "Pairs (module, name) of what a module imports, at the top or inside a function; ours without the package's name."
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import): yield from ((a.name, None) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            source = source.replace("em_notes", ".", 1).replace("..", ".") if source.startswith("em_notes") else source
            yield from ((source if source != "." else f".{a.name}", a.name) for a in node.names)

def ours(module): return {(source[1:], name) for source, name in imports(module) if source.startswith(".")}

@pytest.mark.parametrize("module", MODULES)
def test_arrows(module):
    assert module in ALLOWED, f"say in ALLOWED what {module} may import"
    found = {source for source, _ in ours(module)}
    assert found <= ALLOWED[module], f"{module} imports {found - ALLOWED[module]}"
    assert {name for source, name in ours(module) if source == "em"} <= {"Stats"}

def test_the_arrows_are_seen(): # the test above would pass on nothing
    assert ("em", "Stats") in ours("mixture") and {source for source, _ in ours("gaussian")} == {"data", "em", "kernels"}

@pytest.mark.parametrize("module", [m for m in MODULES if m != "widgets"])
def test_modules_stay_light(module):
    assert not HEAVY & {source.split(".")[0] for source, _ in imports(module)}

def test_public_names_exist():
    assert set(em_notes.__all__) <= set(dir(em_notes))
    assert all(getattr(em_notes, name).__doc__ for name in em_notes.__all__)
