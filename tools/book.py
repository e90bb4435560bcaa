"""Render the book into _docs/: with Quarto where it is installed, else with nbconvert and the template `book`."""
import argparse
import hashlib
import shutil
from pathlib import Path

import nbformat

from . import pages, quarto
from .addresses import address, relative
from .execute import NBS, ROOT, chapters, execute_all, name_of
from .reference import prepare

# Chapters that have moved: the name of a notebook that was at the top -> its name now. Old addresses lead on.
MOVED = {
    **{"00_jensen": "book/01_jensen", "01_free_energy": "book/02_free_energy", "02_em": "book/03_ascent",
       "03_families": "book/04_exponential_families", "03_gaussian": "book/05_gaussian", "04_mixture": "book/06_mixture",
       "05_chains": "book/07_chains", "06_hmm": "book/08_hmm"},
    **{"data": "data/rows", "sequences": "data/sequences", "datasets": "data/datasets"},
    **{"kernels": "engine/tiles", "compiled": "engine/products", "lanes": "engine/lanes",
       "chain_kernels": "engine/messages", "path_kernels": "engine/walks", "emission_kernels": "engine/emissions"},
}


LEAD_ON = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>This page has moved</title>
<link rel="canonical" href="{target}">
<meta http-equiv="refresh" content="0; url={target}">
<script>location.replace("{target}" + location.hash)</script>
</head>
<body><p>This page has moved: <a href="{target}">{target}</a></p></body>
</html>
"""


def redirect(
    names: list[str],  # of all chapters
    out: Path,  # the site's folder
):
    "Pages at old addresses, and at those with the notebooks' numbers, that lead to where a chapter is now."
    pages = {address(name) for name in names}
    for old, new in [*zip(names, names), *MOVED.items()]:
        for page in {f"{old}.html", address(old)} - pages if new in names else ():
            (out / page).write_text(LEAD_ON.format(target=relative(address(new), page)), encoding="utf-8")


def extras(
    folder: Path,
) -> list[Path]:  # in alphabetical order
    "What lies in a folder beside notebooks, configuration and caches."
    files = (f for f in folder.rglob("*") if f.is_file() and f.suffix not in {".ipynb", ".yml", ".pyc"})
    return sorted(f for f in files if not f.name.startswith("."))


def build(
    out: Path,  # folder for the site; emptied first
    with_quarto: bool,  # render with Quarto?
) -> Path:  # its first page
    "Run the notebooks and render the site."
    print("Running copies of the notebooks, as far as they or the modules have changed", flush=True)
    paths = chapters()
    copies = dict(zip(map(name_of, paths), execute_all(paths)))
    recipe = repr([with_quarto, bool(shutil.which("npm")), *(str(copy) for copy in copies.values())]).encode()
    for file in (ROOT / "settings.ini", ROOT / "_quarto.yml", *extras(NBS), *extras(Path(__file__).parent)):
        recipe += file.read_bytes()
    digest = hashlib.sha256(recipe).hexdigest()
    stamp = out / ".made-from"
    if stamp.exists() and stamp.read_text() == digest:
        print("The pages are up to date", flush=True)
        return out / "index.html"
    print(f"Rendering with {'nbdev and Quarto' if with_quarto else 'nbconvert, for want of Quarto'}", flush=True)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    write(copies, out, with_quarto)
    stamp.write_text(digest)
    return out / "index.html"


def write(
    copies: dict[str, Path],  # name of a chapter -> executed notebook
    out: Path,  # the site's folder
    with_quarto: bool,  # render with Quarto?
):
    "All that is in the site's folder: pages, what they load, the notebooks, old addresses."
    nbs = {name: nbformat.read(copy, as_version=4) for name, copy in copies.items()}
    (quarto if with_quarto else pages).render(*prepare(nbs), out)
    for extra in extras(NBS):  # style sheets and pictures
        copy(extra, out / extra.relative_to(NBS))
    for name in copies:
        copy(NBS / f"{name}.ipynb", out / "notebooks" / f"{name}.ipynb")
    redirect(list(copies), out)


def copy(
    source: Path,
    target: Path,  # its folder need not be there
):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=ROOT / "_docs", help="folder for the site, emptied first")
    options.add_argument("--nbconvert", action="store_true", help="render with nbconvert even where Quarto is installed")
    args = options.parse_args()
    by_quarto = bool(shutil.which("quarto")) and not args.nbconvert
    first = build(args.out.resolve(), by_quarto)
    print("Done. To read it, run `make serve`" + ("." if by_quarto else f", or open {first.as_uri()} in a browser."))
