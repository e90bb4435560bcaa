"""Pages by nbconvert, with the template `book`."""
import posixpath
import re
import shutil
from copy import copy
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from pygments.formatters import HtmlFormatter

from .addresses import address, relative, settings, slug, title_cell
from .execute import sidebar
from .libraries import front_end
from .links import unique
from .search import index, sections

WIDGETS = "application/vnd.jupyter.widget-state+json"
TEMPLATES = Path(__file__).with_name("templates")


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
    soup: BeautifulSoup,  # a rendered page; changed
):
    "Link to pages instead of notebooks, give headings their anchors, list them in the margin."
    main, toc = soup.main, soup.find("nav", "toc")
    for link in main.find_all("a", href=True, download=False):
        local = re.fullmatch(r"(?!\w+:|//)([^#]*?)(\.ipynb)?(?:#(.*))?", link["href"])
        if local:
            name, notebook, anchor = local.groups()
            link["href"] = (address(name) if notebook else name) + (f"#{slug(anchor)}" if anchor else "")
    for mark in main.find_all("a", "anchor-link"):
        mark.decompose()
    headings = main.find_all(["h2", "h3", "h4"])
    seen = {tag["id"] for tag in main.find_all(id=True)} - {heading.get("id") for heading in headings}
    for heading in headings:
        given = re.search(r"\s*\{#(\S+)\}\s*$", heading.get_text())
        if given:
            heading.contents[-1].replace_with(re.sub(r"\s*\{#\S+\}\s*$", "", heading.contents[-1]))
        heading["id"] = given[1] if given else unique(slug(heading.get_text()), seen)
        link = soup.new_tag("a", href=f"#{heading['id']}", attrs={"class": heading.name})
        link.extend(copy(part) for part in heading.contents)
        toc.append(link)
    for table in main.find_all("table"):  # a wide table scrolls by itself
        table.wrap(soup.new_tag("div", attrs={"class": "table", "tabindex": "0"}))
    for code in main.find_all("pre"):  # by keys, too
        code["tabindex"] = "0"
    for image in main.find_all("img", loading=False):
        image["loading"] = "lazy"


def render(
    chapters: dict[str, nbformat.NotebookNode],  # name -> executed notebook with links
    reference: dict[str, nbformat.NotebookNode],  # the same, of the reference's pages
    out: Path,  # folder for the pages
):
    "Render the pages, their index and style sheets."
    cfg, libraries = settings(), front_end(out)
    exporter = HTMLExporter(
        template_name="book", extra_template_basedirs=[str(TEMPLATES)], exclude_input_prompt=True, exclude_output_prompt=True,
    )
    nbs = chapters | reference
    entries = {name: title_cell(nb) for name, nb in nbs.items()}
    contents = sidebar() + ([("Reference", list(reference))] if reference else [])
    order, found = list(nbs), []
    for i, (name, nb) in enumerate(nbs.items()):
        entry, here = entries[name], address(name)
        links = {n: {"href": relative(address(n), here), "title": inline(e["title"]), "here": n == name,
                     "number": re.sub(r"^book/0?(\d+)_.*|.*", r"\1", n)} for n, e in entries.items()}
        page = {
            "site": cfg["title"],
            "root": posixpath.relpath(".", posixpath.dirname(here) or "."),
            "url": f"{cfg['doc_host']}{cfg['doc_baseurl']}/",
            "here": here,
            "repository": cfg["git_url"],
            "title": links[name]["title"],
            "subtitle": inline(entry["subtitle"]),
            "description": inline(entry.get("description") or entry["subtitle"] or cfg["description"]),
            "sidebar": [(section, [links[n] for n in names], name in names) for section, names in contents],
            "previous": links[order[i - 1]] if i else None,
            "next": links[order[i + 1]] if i + 1 < len(order) else None,
            "widgets": bool(nb.metadata.get("widgets", {}).get(WIDGETS, {}).get("state")),
            **{library: dict(found, src=relative(found["src"], here)) for library, found in libraries.items()},
        }
        html, _ = exporter.from_notebook_node(for_readers(nb), resources={"page": page})
        soup = BeautifulSoup(html, "html.parser")
        finish(soup)
        (out / here).parent.mkdir(parents=True, exist_ok=True)
        (out / here).write_text(str(soup), encoding="utf-8")
        found += sections(soup.main, here)
    index(found, out)
    light, dark = (HtmlFormatter(style=style).get_style_defs(f"{mode}.highlight")
                   for style, mode in (("xcode", ""), ("github-dark", "[data-theme=dark] ")))
    css = (TEMPLATES / "book" / "book.css").read_text(encoding="utf-8")
    (out / "book.css").write_text(f"{css}{light}\n{dark}\n", encoding="utf-8")
    shutil.copy(TEMPLATES / "book" / "book.js", out)
