"""Render the book into _docs/: with Quarto where it is installed, else with nbconvert and the template `book`."""
import argparse
import base64
import hashlib
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from configparser import ConfigParser
from importlib.resources import files
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from pygments.formatters import HtmlFormatter

from .execute import BUILD, NBS, ROOT, chapters, execute_all, name_of, sidebar

WIDGETS = "application/vnd.jupyter.widget-state+json"

# What the pages load: npm package, version, the one file we need of it and this file's digest, as browsers check it. From
# npm where that is installed, so that the site works offline and from file://, else from the CDN. The full MathJax is
# what Quarto's pages load: it refuses what theirs refuse. It draws SVG: its fonts are paths within this file.
FRONT_END = {
    "mathjax": ("mathjax", "3.2.2", "es5/tex-svg-full.js",
                "sha384-4kE/rQ11E8xT9QgrCBTyvenkuPfQo8rXYQvJZuMgxyPOoUfpatjQPlgdv6V5yhUK"),
    "require": ("requirejs", "2.3.8", "require.js",
                "sha384-gzoQyNpzaOK+Aes9TTuBq/ZgYdleZUDN3sFwxyLRbRytLEWofprkKj2F7z3a6nTu"),
    "manager": ("@jupyter-widgets/html-manager", "1.0.15", "dist/embed-amd.js",
                "sha384-/x/n24gdFNkRW3aFeWPOJ5tgVI0ZmBOBu6UKswtJLAm6SIAzWBZUdrLEr5A9yXvL"),
}

# Chapters that have moved: the name of a notebook that was at the top -> its name now. Old addresses lead on.
MOVED = {
    **{"00_jensen": "book/01_jensen", "01_free_energy": "book/02_free_energy", "02_em": "book/03_ascent",
       "03_families": "book/04_exponential_families", "03_gaussian": "book/05_gaussian", "04_mixture": "book/06_mixture",
       "05_chains": "book/07_chains", "06_hmm": "book/08_hmm"},
    **{"data": "data/rows", "sequences": "data/sequences", "datasets": "data/datasets"},
    **{"kernels": "engine/tiles", "compiled": "engine/products", "lanes": "engine/lanes",
       "chain_kernels": "engine/messages", "path_kernels": "engine/walks", "emission_kernels": "engine/emissions"},
}


def settings() -> dict[str, str]:
    "The metadata in settings.ini."
    config = ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(config["DEFAULT"])


def address(
    name: str,  # of a chapter: "book/01_jensen"
) -> str:  # "book/jensen.html"
    "Where a chapter's page is, from the site's top: by nbdev's rule the number of the notebook is left out."
    folder, _, stem = name.rpartition("/")
    return posixpath.join(folder, re.sub(r"^\d+[a-z0-9]*_", "", stem.lower()) + ".html")


def relative(
    target: str,  # an address from the site's top, or a whole URL
    page: str,  # the address of the page that links there
) -> str:
    "A link from a page, such as works from file:// and below any folder of a server."
    return target if "://" in target else posixpath.relpath(target, posixpath.dirname(page) or ".")


def integrity(
    content: bytes,
) -> str:  # "sha384-…"
    "The digest of a file, as the attribute of that name has it."
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def front_end(
    out: Path,  # the site's folder
) -> dict[str, dict[str, str]]:  # library -> its address, and its digest where the file isn't ours
    "Put the libraries that pages load into `out/lib` and say where each is."
    lib = out / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    # The widgets' own front end comes with the Python package, at the version that the notebooks ran with.
    shutil.copy(str(files("anywidget") / "nbextension" / "index.js"), lib / "anywidget.js")
    npm, libraries = shutil.which("npm"), {}
    for name, (package, version, file, digest) in FRONT_END.items():
        kept = BUILD / "npm" / f"{package.split('/')[-1]}-{version}-{Path(file).name}"
        if npm and not kept.exists():
            fetch(npm, package, version, file, kept)
        if kept.exists():
            if (found := integrity(kept.read_bytes())) != digest:
                raise SystemExit(f"{kept} isn't the file that tools/book.py expects: its digest is {found}, not {digest}. Delete it.")
            libraries[name] = {"src": f"lib/{Path(file).name}"}
            shutil.copy(kept, out / libraries[name]["src"])
        else:
            libraries[name] = {"src": f"https://cdn.jsdelivr.net/npm/{package}@{version}/{file}", "integrity": digest}
    return libraries


def fetch(
    npm: str,  # the program
    package: str,
    version: str,
    file: str,  # path within the package
    kept: Path,  # where to put it
):
    "Take one file out of an npm package, without its dependencies; leave nothing if npm fails."
    print(f"  getting {package} {version} from npm", flush=True)
    with tempfile.TemporaryDirectory() as tmp:
        command = [npm, "pack", "--silent", f"{package}@{version}"]
        done = subprocess.run(command, cwd=tmp, capture_output=True, text=True)
        if done.returncode:
            print(f"  npm failed; the pages will load {package} from the CDN:\n{done.stderr.strip()}", file=sys.stderr)
            return
        with tarfile.open(next(Path(tmp).glob("*.tgz"))) as archive:
            source = archive.extractfile(f"package/{file}").read()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(source)


def title_cell(
    nb: nbformat.NotebookNode,
) -> dict[str, str]:  # title, subtitle and the `- key: value` lines
    "What the first cell of a notebook says, by nbdev's rules: an H1, a `>` subtitle, and front matter as a list."
    source = nb.cells[0].source
    if not source.startswith("# "):
        raise ValueError(f"a notebook's first cell must start with '# ' and its title, it starts with {source[:40]!r}")
    entry = dict(re.findall(r"^- (\w+): *(.+)$", source, re.M))
    entry["title"] = source.splitlines()[0][2:].strip()
    entry["subtitle"] = " ".join(re.findall(r"^> *(.+)$", source, re.M))
    return entry


def inline(
    source: str,  # a line of markdown
) -> str:  # HTML without the paragraph around it
    return re.sub(r"^<p>|</p>\s*$", "", markdown2html(source).strip())


def for_readers(
    nb: nbformat.NotebookNode,
) -> nbformat.NotebookNode:  # a copy
    "A notebook without its title cell, its directives, and what these hide."
    cells = []
    for cell in nb.cells[1:]:
        if cell.cell_type != "code":
            cells.append(cell)
            continue
        directives = dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", cell.source, re.M))
        source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip("\n")
        source = "\n".join(line for line in source.splitlines() if not re.search(r"#\|\s*hide_line\s*$", line))
        if "hide" in directives or directives.get("include") == "false" or not source:
            continue
        metadata = {}
        if directives.get("echo") == "false":
            metadata["transient"] = {"remove_source": True}
        if directives.get("code-fold") == "true":
            metadata["fold"] = directives.get("code-summary", "Code").strip("\"'")
        outputs = [] if directives.get("output") == "false" else cell.outputs
        cells.append(nbformat.v4.new_code_cell(source, outputs=outputs, metadata=metadata, id=cell.id))
    return nbformat.from_dict(dict(nb, cells=cells))


def finish(
    html: str,  # a rendered page
) -> str:
    "Link to pages instead of notebooks, give headings the anchors that Quarto gives them, list them in the margin."
    soup = BeautifulSoup(html, "html.parser")
    for link in soup.select("main a[href]"):
        local = re.fullmatch(r"(?!\w+:|//)([^#]*?)(\.ipynb)?(#.*)?", link["href"])
        if local:
            name, notebook, anchor = local.groups()
            link["href"] = (address(name) if notebook else name) + (anchor or "").lower()
    for mark in soup.select("a.anchor-link"):
        mark.decompose()
    toc, seen = soup.select_one("nav.toc"), set()
    for heading in soup.select("main h2, main h3"):
        slug = base = re.sub(r"[^\w]+", "-", heading.get_text().lower()).strip("-")
        for n in range(1, 99):
            if slug not in seen:
                break
            slug = f"{base}-{n}"
        seen.add(slug)
        heading["id"] = slug
        link = soup.new_tag("a", href=f"#{slug}", attrs={"class": heading.name})
        link.extend(BeautifulSoup(heading.decode_contents(), "html.parser"))
        toc.append(link)
    for table in soup.select("main table"):  # a wide table scrolls by itself
        table.wrap(soup.new_tag("div", attrs={"class": "table"}))
    for image in soup.select("main img:not([loading])"):
        image["loading"] = "lazy"
    return str(soup)


def render(
    copies: dict[str, Path],  # name of a chapter -> executed notebook
    out: Path,  # folder for the pages
):
    "Render the pages with nbconvert."
    cfg, libraries = settings(), front_end(out)
    exporter = HTMLExporter(
        template_name="book", extra_template_basedirs=[str(Path(__file__).with_name("templates"))],
        exclude_input_prompt=True, exclude_output_prompt=True,
    )
    nbs = {name: nbformat.read(copy, as_version=4) for name, copy in copies.items()}
    entries = {name: title_cell(nb) for name, nb in nbs.items()}
    order = list(nbs)
    for i, (name, nb) in enumerate(nbs.items()):
        entry, here = entries[name], address(name)
        links = {n: {"href": relative(address(n), here), "title": inline(e["title"]), "here": n == name}
                 for n, e in entries.items()}
        page = {
            "site": cfg["title"],
            "title": links[name]["title"],
            "subtitle": inline(entry["subtitle"]),
            "description": inline(entry.get("description") or entry["subtitle"] or cfg["description"]),
            "sidebar": [(section, [links[n] for n in names]) for section, names in sidebar()],
            "previous": links[order[i - 1]] if i else None,
            "next": links[order[i + 1]] if i + 1 < len(order) else None,
            "widgets": bool(nb.metadata.get("widgets", {}).get(WIDGETS, {}).get("state")),
            "styles": [relative(sheet, here) for sheet in ("book.css", "styles.css")],
            "anywidget": relative("lib/anywidget", here),  # RequireJS adds the suffix
            **{library: dict(found, src=relative(found["src"], here)) for library, found in libraries.items()},
        }
        html, _ = exporter.from_notebook_node(for_readers(nb), resources={"page": page})
        (out / here).parent.mkdir(parents=True, exist_ok=True)
        (out / here).write_text(finish(html), encoding="utf-8")
    css = Path(__file__).with_name("templates") / "book" / "book.css"
    colours = HtmlFormatter(style="xcode").get_style_defs(".highlight")
    (out / "book.css").write_text(css.read_text(encoding="utf-8") + colours + "\n", encoding="utf-8")


def render_with_quarto(
    copies: dict[str, Path],  # name of a chapter -> executed notebook
    out: Path,  # folder for the pages
):
    "Render the pages with nbdev and Quarto, in a copy of the project that has the executed notebooks."
    stage = BUILD / "quarto"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(ROOT / "em_notes", stage / "em_notes", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "README.md", "_quarto.yml"):
        shutil.copy(ROOT / name, stage)
    shutil.copytree(NBS, stage / "nbs", symlinks=True, ignore=shutil.ignore_patterns("*.ipynb", ".*"))
    for name, copy in copies.items():
        nb = nbformat.read(copy, as_version=4)
        for cell in nb.cells:  # nbdev leaves a directive without code to Quarto, which doesn't know ours
            if cell.cell_type == "code" and all(line.startswith("#|") for line in cell.source.splitlines()):
                cell.source += "\n#| include: false\npass"
        (stage / "nbs" / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, stage / "nbs" / f"{name}.ipynb")
    subprocess.run([Path(sys.executable).with_name("nbdev_docs")], cwd=stage, check=True)
    shutil.copytree(stage / "_docs", out, dirs_exist_ok=True)


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
    quarto: bool,  # render with Quarto?
) -> Path:  # its first page
    "Run the notebooks and render the site."
    print("Running copies of the notebooks, as far as they or the modules have changed", flush=True)
    paths = chapters()
    copies = dict(zip(map(name_of, paths), execute_all(paths)))
    recipe = repr([quarto, bool(shutil.which("npm")), *(str(copy) for copy in copies.values())]).encode()
    for file in (ROOT / "settings.ini", ROOT / "_quarto.yml", *extras(NBS), *extras(Path(__file__).parent)):
        recipe += file.read_bytes()
    digest = hashlib.sha256(recipe).hexdigest()
    stamp = out / ".made-from"
    if stamp.exists() and stamp.read_text() == digest:
        print("The pages are up to date", flush=True)
        return out / "index.html"
    print(f"Rendering with {'nbdev and Quarto' if quarto else 'nbconvert, for want of Quarto'}", flush=True)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (render_with_quarto if quarto else render)(copies, out)
    for extra in extras(NBS):  # style sheets and pictures
        target = out / extra.relative_to(NBS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(extra, target)
    redirect(list(copies), out)
    stamp.write_text(digest)
    return out / "index.html"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=ROOT / "_docs", help="folder for the site, emptied first")
    options.add_argument("--nbconvert", action="store_true", help="render with nbconvert even where Quarto is installed")
    args = options.parse_args()
    first = build(args.out.resolve(), quarto=bool(shutil.which("quarto")) and not args.nbconvert)
    print(f"Done. Open {first.as_uri()} in a browser, or run `make serve`.")
