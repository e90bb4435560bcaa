"""Pages by nbdev and Quarto, from the same notebooks, and with the same libraries as those of nbconvert."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from .addresses import relative, title_cell
from .execute import BUILD, NBS, ROOT
from .libraries import front_end

# How the scripts are called that Quarto's pages load from elsewhere -> which of ours serves them.
OURS = {r"mathjax[@/]": "mathjax", r"require(?:\.min)?\.js": "require", r"html-manager": "manager"}
# Needed by browsers of 2016, and by pages that show widgets of before 2020.
NEEDLESS = r"polyfill"


def render(
    chapters: dict[str, nbformat.NotebookNode],  # name -> executed notebook with links
    reference: dict[str, nbformat.NotebookNode],  # the same, of the reference's pages
    out: Path,  # folder for the pages
):
    "Render the pages with nbdev and Quarto, in a copy of the project that has the executed notebooks."
    stage = BUILD / "quarto"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(ROOT / "em_notes", stage / "em_notes", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "README.md"):
        shutil.copy(ROOT / name, stage)
    shutil.copytree(NBS, stage / "nbs", symlinks=True, ignore=shutil.ignore_patterns("*.ipynb", ".*"))
    (stage / "_quarto.yml").write_text(configuration(list(reference)), encoding="utf-8")
    for name, nb in (chapters | reference).items():
        (stage / "nbs" / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(staged(nb), stage / "nbs" / f"{name}.ipynb")
    subprocess.run([Path(sys.executable).with_name("nbdev_docs")], cwd=stage, check=True)
    shutil.copytree(stage / "_docs", out, dirs_exist_ok=True)
    localise(out)


def configuration(
    reference: list[str],  # names of the reference's pages
) -> str:
    "`_quarto.yml` with the reference in its sidebar."
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    config["website"]["sidebar"]["contents"].append({"section": "Reference", "contents": [f"{name}.ipynb" for name in reference]})
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def staged(
    nb: nbformat.NotebookNode,
) -> nbformat.NotebookNode:  # a copy
    "A notebook as nbdev and Quarto want it."
    nb = nbformat.from_dict(nb)
    entry = title_cell(nb)
    if entry["subtitle"]:  # else nbdev would show the description in its place
        nb.cells[0].source = re.sub(r"^- description:.*\n?", "", nb.cells[0].source, flags=re.M)
    for cell in nb.cells:  # nbdev leaves a directive without code to Quarto, which doesn't know ours
        if cell.cell_type == "code" and all(line.startswith("#|") for line in cell.source.splitlines()):
            cell.source += "\n#| include: false\npass"
    return nb


def localise(
    out: Path,  # the site's folder
):
    "Let Quarto's pages load our libraries in place of those that it names on CDNs, and no fonts from elsewhere."
    libraries = front_end(out)
    for path in out.rglob("*.html"):
        here = path.relative_to(out).as_posix()
        path.write_text(local_scripts(path.read_text(encoding="utf-8"), here, libraries), encoding="utf-8")
    for path in out.rglob("*.css"):
        css = path.read_text(encoding="utf-8")
        if "fonts.googleapis.com" in css:
            path.write_text(re.sub(r"@import[^;]*fonts\.googleapis\.com[^;]*;", "", css), encoding="utf-8")


def local_scripts(
    html: str,  # a page
    here: str,  # its address
    libraries: dict[str, dict[str, str]],  # as front_end gives them
) -> str:
    "A page whose scripts come from the site."
    def script(match):
        if re.search(NEEDLESS, match[1]):
            return ""
        ours = next((name for pattern, name in OURS.items() if re.search(pattern, match[1], re.I)), None)
        if not ours:
            return match[0]
        library = libraries[ours]
        digest = f' integrity="{library["integrity"]}" crossorigin="anonymous"' if "integrity" in library else ""
        loaded = f'<script src="{relative(library["src"], here)}"{digest}></script>'
        if ours == "require":  # where the widgets' front end is
            loaded += f'\n<script>require.config({{paths: {{anywidget: "{relative("lib/anywidget", here)}"}}}});</script>'
        return loaded

    return re.sub(r"""<script\b[^>]*\bsrc="(https?://[^"]+)"[^>]*></script>""", script, html)
