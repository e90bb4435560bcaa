"""Run copies of notebooks and remember the results, so that `make book` and `make test` run each of them once."""
import hashlib
import importlib.metadata
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.filters import strip_ansi

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
BUILD = ROOT / "_build"  # not .build: nbdev passes over folders with a dot

# Warnings are errors (all but one of the kernel's own), sets of strings keep one order, and two kernels
# on a small machine don't fight for cores: each gets one BLAS thread.
KERNEL_ENV = {
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "error,ignore::PendingDeprecationWarning:ipykernel.kernelbase",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def name_of(
    path: Path | str,  # of a notebook: whole, or from nbs/
) -> str:  # "book/01_jensen"
    "A chapter's name: its path from nbs/, without the suffix."
    path = Path(path)
    return (path.relative_to(NBS) if path.is_absolute() else path).with_suffix("").as_posix()


def sidebar() -> list[tuple[str, list[str]]]:  # (section title or "", names of its notebooks)
    "The table of contents, as `_quarto.yml` has it."
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    sections = []
    for entry in config["website"]["sidebar"]["contents"]:
        title, files = ("", [entry]) if isinstance(entry, str) else (entry["section"], entry["contents"])
        sections.append((title, [name_of(f) for f in files]))
    return sections


def chapters() -> list[Path]:  # notebooks in reading order
    "The notebooks that the sidebar lists."
    return [NBS / f"{name}.ipynb" for _, names in sidebar() for name in names]


def key(
    path: Path,  # a notebook
) -> str:  # 16 hexadecimal digits
    "A digest of all that decides what a notebook prints: its cells, our sources and data, the installed packages."
    digest = hashlib.sha256(sys.version.encode())
    cells = nbformat.read(path, as_version=4).cells
    digest.update(json.dumps([(c.cell_type, c.source) for c in cells]).encode())
    sources = [Path(__file__), *(f for d in ("em_notes", "benchmarks") for f in sorted((ROOT / d).rglob("*")))]
    for file in sources:
        if file.is_file() and file.parent.name != "__pycache__":  # nor what Python and numba compiled there
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    packages = sorted({f"{d.name} {d.version}" for d in importlib.metadata.distributions()})  # each may be found twice
    digest.update("\n".join(packages).encode())
    return digest.hexdigest()[:16]


def skipped(
    source: str,  # of a code cell
) -> bool:
    "Whether a cell is not for running here: exporting would write into the checkout."
    return "nbdev_export(" in source or "#| eval: false" in source


def run(
    path: Path,  # a notebook; it stays as it is
) -> nbformat.NotebookNode:  # a copy with fresh outputs and widget state
    "Run all cells of a copy of a notebook in a fresh kernel."
    nb = nbformat.read(path, as_version=4)
    nb.metadata.pop("widgets", None)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            if skipped(cell.source):
                cell.metadata.tags = ["skip-execution"]
    client = NotebookClient(
        nb,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # one output however the text arrived
        resources={"metadata": {"path": str(path.parent)}},  # as JupyterLab and nbdev_test do
        extra_arguments=["--log-level=ERROR"],  # no word about local ports
    )
    return client.execute(env=os.environ | KERNEL_ENV)


def forget(
    path: Path,  # a notebook
):
    "Throw away its executed copies."
    for copy in (BUILD / "run").glob(f"{name_of(path)}-{'[0-9a-f]' * 16}.ipynb"):
        copy.unlink()


def executed(
    path: Path,  # a notebook
) -> Path:  # its executed copy
    "The executed copy of a notebook, made now unless neither it nor what it uses has changed."
    copy = BUILD / "run" / f"{name_of(path)}-{key(path)}.ipynb"
    if not copy.exists():
        started = time.perf_counter()
        nb = run(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        forget(path)
        partial = copy.with_suffix(f".{os.getpid()}")
        nbformat.write(nb, partial)
        partial.replace(copy)  # in one step: another build may be reading
        print(f"  ran {name_of(path)} in {time.perf_counter() - started:.1f} s", flush=True)
    return copy


def execute_all(
    paths: list[Path],  # notebooks
) -> list[Path]:  # their executed copies, in the same order
    "Executed copies of all notebooks, two kernels at a time; ends the program when a cell fails."
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(executed, path) for path in paths]
    failed = False
    for path, job in zip(paths, jobs):
        if isinstance(job.exception(), CellExecutionError):
            print(f"{path.relative_to(ROOT)} failed:\n{strip_ansi(str(job.exception()))}", file=sys.stderr)
            failed = True
    if failed:
        raise SystemExit(1)
    return [job.result() for job in jobs]
