"""The project itself: modules and notebooks agree, the package is complete and light, the README is true."""
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import nbformat
import pytest

from tools import freeze, sync
from tools.execute import NBS, ROOT, chapters, executed, name_of

NOTEBOOKS = sorted(path for path in NBS.rglob("*.ipynb") if path.parent.name != ".ipynb_checkpoints")


def run(*args, **options):
    done = subprocess.run(args, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Notebooks and modules

@pytest.mark.slow
def test_modules_are_what_the_notebooks_export():
    assert sync.differences() == []


@pytest.mark.slow
def test_a_module_edited_by_hand_is_noticed(tmp_path):
    for name in ("nbs", "em_notes"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "_quarto.yml"):
        shutil.copy(ROOT / name, tmp_path)
    with open(tmp_path / "em_notes" / "widgets.py", "a") as module:
        module.write("# by hand\n")
    assert sync.differences(tmp_path) == ["em_notes/widgets.py"]


def test_sidebar_lists_exactly_the_notebooks_there_are():
    assert sorted(chapters()) == NOTEBOOKS


def texts(nb):
    "What each code cell prints or returns, as text."
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            text = output.get("text", output.get("data", {}).get("text/plain", ""))
            yield re.sub(r" at 0x[0-9a-f]+", "", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_committed_notebooks_are_executed_and_clean(path, site):
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    assert set(nb.metadata) <= {"kernelspec", "widgets"}
    assert not any(cell.metadata or cell.get("execution_count") for cell in nb.cells)
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    models = nb.metadata.get("widgets", {}).get(freeze.WIDGETS, {}).get("state", {})
    assert {o.data[freeze.VIEW]["model_id"] for o in outputs if freeze.VIEW in o.get("data", {})} <= set(models)
    fresh = nbformat.read(executed(path), as_version=4)
    assert list(texts(nb)) == list(texts(fresh)), "stale outputs: run make freeze"


# The package

LIGHT = """
import json, sys, time
start = time.perf_counter()
import em_notes
print(json.dumps([time.perf_counter() - start, em_notes.__file__, sorted(sys.modules)]))
"""


def test_import_is_fast_and_light(tmp_path):
    runs = [json.loads(run(sys.executable, "-c", LIGHT, cwd=tmp_path)) for _ in range(3)]
    heavy = {"matplotlib", "IPython", "ipywidgets", "anywidget", "sklearn", "nbdev", "fastcore"}
    assert not heavy & set(runs[0][2])
    assert min(seconds for seconds, *_ in runs) < 1


@pytest.mark.slow
def test_wheel_from_sdist_is_complete(tmp_path):
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".*", "_build", "_docs", "_proc", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignore)
    # build makes the wheel from the sdist: what MANIFEST.in forgets is missing here
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", source)
    sdist, wheel = (next((tmp_path / "dist").glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"settings.ini", "LICENSE", "README.md", "CHANGELOG.md", "setup.py"} <= names
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    package = {f.relative_to(ROOT).as_posix() for f in (ROOT / "em_notes").rglob("*")
               if f.is_file() and f.parent.name != "__pycache__"}
    assert {name for name in names if ".dist-info/" not in name} == package
    code = "import sys; sys.path.insert(0, sys.argv[1]);" + LIGHT
    _, file, _ = json.loads(run(sys.executable, "-c", code, tmp_path / "installed", cwd=tmp_path))
    assert file.startswith(str(tmp_path / "installed"))


# The README

def test_readme_is_made_from_the_index():
    text, pictures = freeze.readme(nbformat.read(NBS / "index.ipynb", as_version=4))
    assert (ROOT / "README.md").read_text(encoding="utf-8") == text, "run make freeze"
    for name, content in pictures.items():
        assert (freeze.PICTURES / name).read_bytes() == content


def test_nbdev_leaves_the_readme_alone():
    from tools.addresses import settings
    assert not (NBS / settings()["readme_nb"]).exists()  # nbdev_docs then writes none


def test_readme_links_lead_somewhere():
    for link in re.findall(r"\]\((?!\w+:|#)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / link).exists(), link


def test_readme_examples_run(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    run(sys.executable, "-W", "error", "-c", "\n".join(blocks), cwd=tmp_path)
