"""Where things are: pages, their headings, the repository."""
import posixpath
import re
from configparser import ConfigParser
from functools import cache

import nbformat

from .execute import ROOT


@cache
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


def slug(
    heading: str,  # its text, or the fragment of a link as JupyterLab writes it
) -> str:
    "The anchor of a heading, by Pandoc's rule."
    text = re.sub(r"[^\w\s.-]", "", heading.lower())
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", text.strip())) or "section"


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
