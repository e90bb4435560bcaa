"""What a notebook gains before either renderer sees it: anchors of formulas and functions, and links to them.

All is markdown and HTML within its cells, so that the pages of nbconvert and of Quarto have the same anchors and links.
"""
import ast
import html
import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from urllib.parse import quote

import nbformat

from .addresses import address, relative, settings, slug, title_cell

# What prose is not, to be left alone; and in it formulas, references and code, to be looked at.
TOKENS = re.compile(
    r"""(?P<heading>^\#{2,6}[ ][^\n]+)
    | ^(?P<fence>```|~~~).*?^(?P=fence)
    | (?P<formula>^[ ]*\$\$.*?\$\$[.,;]?|\$\$.*?\$\$)
    | \$(?:\\.|[^$\\])+\$(?P<mark>[.,;:!?)]*)
    | <(?P<tag>a|summary|script|style|pre|code)\b.*?</(?P=tag)> | <[^<>]+>
    | !?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\([^)]*\)
    | (?P<ticks>`+)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)
    | \((?P<reference>[0-9A-Z]\.\d{1,2}[a-z]?)\)""",
    re.M | re.S | re.X,
)
TAG = re.compile(r"\\tag\{(.+?)\}")


def formula_id(
    tag: str,  # "6.3"
) -> str:
    "The anchor of a formula."
    return f"formula-{tag.lower()}"


def formulas(
    nbs: dict[str, nbformat.NotebookNode],  # name of a chapter -> notebook
) -> dict[str, str]:  # tag -> name of the chapter that has it
    "Where each numbered formula is; a number that two chapters use counts as the first one's."
    found = {}
    for name, nb in nbs.items():
        for cell in nb.cells:
            for tag in TAG.findall(cell.source) if cell.cell_type == "markdown" else ():
                found.setdefault(tag, name)
    return found


def module_of(
    nb: nbformat.NotebookNode,
) -> str | None:  # "em_notes.book.jensen"
    "The module that a notebook exports."
    found = re.search(r"^#\| *default_exp (\S+)", "\n".join(c.source for c in nb.cells if c.cell_type == "code"), re.M)
    return found and f"{settings()['lib_name']}.{found[1]}"


def definitions(
    source: str,  # Python
) -> Iterator[tuple[str, int]]:  # ("GMM.start", 12): qualified name, line
    "The functions, classes and methods that code defines."
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.parse(re.sub(r"^[%!].*$", "pass", source, flags=re.M)).body:
        if isinstance(node, kinds):
            yield node.name, node.lineno
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{part.name}", part.lineno) for part in node.body if isinstance(part, kinds))


def names_in(
    nb: nbformat.NotebookNode,
    module: str | None,  # that it exports
) -> dict[str, object]:
    "What code names in the text of a notebook mean: the package's names, those it imports, its own."
    package = importlib.import_module(settings()["lib_name"])
    names = {name: getattr(package, name) for name in package.__all__}
    for cell in nb.cells:
        if cell.cell_type == "code":
            for source, line in re.findall(rf"^from ({package.__name__}[\w.]*) import (.+)$", cell.source, re.M):
                for name, alias in re.findall(r"(\w+)(?: as (\w+))?", line.split("#")[0]):
                    names[alias or name] = getattr(importlib.import_module(source), name, None)
    own = importlib.import_module(module) if module else None
    return names | ({name: getattr(own, name) for name in own.__all__} if own else {})


def plain(
    obj: object,
) -> object:
    "The Python function, class or module behind what a decorator has made of it."
    obj = getattr(obj, "py_func", None) or getattr(obj, "fget", None) or getattr(obj, "func", None) or obj
    return inspect.unwrap(obj) if callable(obj) else obj


class Links:
    "Where formulas and names of the package are explained."

    def __init__(self,
        nbs: dict[str, nbformat.NotebookNode],  # name of a chapter -> notebook
        reference: dict[str, list[str]],  # module -> names that the reference explains; empty: no reference
    ):
        self.formulas, self.reference = formulas(nbs), reference

    def formula(self, tag: str) -> str | None:
        "The address of a formula."
        return f"{address(self.formulas[tag])}#{formula_id(tag)}" if tag in self.formulas else None

    def name(self,
        code: str,  # "steps.hard", "em(theta, x)"
        names: dict[str, object],  # what names mean here
    ) -> str | None:
        "The address of a function, class, method or module in the reference."
        found = re.fullmatch(r"([A-Za-z_]\w*)((?:\.\w+)*)(?:\(.*\))?", code, re.S)
        if not found or found[1] not in names:
            return None
        obj = names[found[1]]
        for part in found[2].split(".")[1:]:
            obj = getattr(obj, part, None)
        obj = plain(obj)
        if isinstance(obj, ModuleType):
            return page_of(obj.__name__) if obj.__name__ in self.reference else None
        qualname = getattr(obj, "__qualname__", None)
        if qualname in self.reference.get(getattr(obj, "__module__", None), ()):
            return f"{page_of(obj.__module__)}#{qualname.lower()}"
        return None

    def prepare(self,
        nb: nbformat.NotebookNode,
        name: str,  # of the chapter
    ) -> nbformat.NotebookNode:  # a copy
        "The notebook with anchors and links."
        here, module = address(name), module_of(nb)
        names = names_in(nb, module)
        seen = {own.lower() for own, _ in self.own_names(nb)}  # anchors on this page
        given = set()  # of these, those that have had their turn: nbdev tells no capitals from others
        cells = [nb.cells[0], markdown(page_links(name, module if module in self.reference else None))]
        for cell in nb.cells[1:]:
            if cell.cell_type == "markdown":
                cells.append(dict(cell, source=self.linked(cell.source, here, names, seen)))
                continue
            exported = re.search(r"^#\| *export", cell.source, re.M)
            fresh = dict.fromkeys(qualname.lower() for qualname, _ in definitions(cell.source)) if exported else {}
            if own := [f'<span id="{anchor}"></span>' for anchor in fresh if anchor not in given]:
                given.update(fresh)
                cells.append(markdown(f'<div class="anchors">{"".join(own)}</div>'))
            texts = [o.data["text/markdown"] for o in cell.get("outputs", []) if "text/markdown" in o.get("data", {})]
            if texts:  # its headings are headings of the page
                cell = dict(cell, outputs=[o for o in cell.outputs if "text/markdown" not in o.get("data", {})])
            cells += [cell, *(markdown(self.linked(text, here, names, seen)) for text in texts)]
        return nbformat.from_dict(dict(nb, cells=[*cells, markdown(citation(nb, here))]))

    def prepare_reference(self,
        nb: nbformat.NotebookNode,
        name: str,  # of the page
        module: str | None,  # that it explains
    ) -> nbformat.NotebookNode:  # a copy
        "A page of the reference with links; what it explains has its anchors already."
        here, names, seen = address(name), names_in(nb, module), set()
        cells = [nb.cells[0], *(dict(cell, source=self.linked(cell.source, here, names, seen)) for cell in nb.cells[1:])]
        return nbformat.from_dict(dict(nb, cells=cells))

    def own_names(self, nb: nbformat.NotebookNode) -> Iterator[tuple[str, int]]:
        "What the exported cells of a notebook define."
        for cell in nb.cells:
            if cell.cell_type == "code" and re.search(r"^#\| *export", cell.source, re.M):
                yield from definitions(cell.source)

    def linked(self,
        text: str,  # markdown
        here: str,  # the address of its page
        names: dict[str, object],  # what code names mean there
        seen: set[str],  # anchors that the page has by now
    ) -> str:
        "The text with anchors at headings and formulas, and links from formulas' numbers and code names."
        def link(target, shown):
            return f'<a href="{relative(target, here) if target.split("#")[0] != here else "#" + target.split("#")[1]}">{shown}</a>'

        def token(match):
            whole = match[0]
            if match["heading"] and not re.search(r"\{#\S+\}\s*$", whole):
                return f"{whole.rstrip()} {{#{unique(slug(re.sub(r'[`*]', '', whole.lstrip('# '))), seen)}}}"
            if match["formula"] and (tags := [tag for tag in TAG.findall(whole) if formula_id(tag) not in seen]):
                seen.update(map(formula_id, tags))
                if len(tags) == 1 and whole.startswith("$$"):
                    return f'<div id="{formula_id(tags[0])}" class="formula">\n\n{whole}\n\n</div>'
                return "".join(f'<span id="{formula_id(tag)}"></span>' for tag in tags) + whole
            if match["mark"]:  # stays on the line of its formula
                return f'<span class="whole">{whole}</span>'
            if match["reference"] and (target := self.formula(match["reference"])):
                return link(target, whole)
            if match["code"] and match["ticks"] == "`" and (target := self.name(match["code"], names)):
                return link(target, whole)
            return whole

        return TOKENS.sub(token, text)


def unique(
    anchor: str,
    seen: set[str],  # anchors that are taken; gains this one
) -> str:
    "The anchor, with a number where it is taken."
    found = next(a for a in (anchor, *(f"{anchor}-{n}" for n in range(1, 99))) if a not in seen)
    seen.add(found)
    return found


def markdown(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source)


def page_of(
    module: str,  # "em_notes.models.mixture"
) -> str:  # "api/models/mixture.html"
    "The address of a module's page in the reference."
    return address(reference_name(module))


def reference_name(
    module: str,  # "em_notes.models.mixture"
) -> str:  # "api/models/mixture"
    "The name of a module's page in the reference."
    return f"api/{module.partition('.')[2].replace('.', '/')}"


def page_links(
    name: str,  # of a chapter
    module: str | None,  # its module, where the reference has it
) -> str:
    "The line under a title: the notebook, on Colab, on GitHub, its reference, and where to say that something is wrong."
    cfg, here = settings(), address(name)
    path = f"{cfg['nbs_path']}/{name}.ipynb"
    notebook = {
        "Notebook": (relative(f"notebooks/{name}.ipynb", here), " download"),
        "Colab": (f"https://colab.research.google.com/github/{cfg['user']}/{cfg['repo']}/blob/{cfg['branch']}/{path}",
                  f' title="There, first run: %pip install git+{cfg["git_url"]}"'),
        "Source": (f"{cfg['git_url']}/blob/{cfg['branch']}/{path}", ""),
    }
    reference = {"Reference": (relative(page_of(module), here), "")} if module else {}
    return link_line(notebook | reference | issue_link(here))


def issue_link(here: str) -> dict[str, tuple[str, str]]:
    "To the form for faults, with the page filled in."
    return {"Report a fault": (f"{settings()['git_url']}/issues/new?template=fault.yml&page={quote(here, safe='')}", "")}


def link_line(
    links: dict[str, tuple[str, str]],  # text -> address, further attributes
) -> str:
    "Links in one line, as HTML."
    items = (f'<a href="{html.escape(href)}"{more}>{text}</a>' for text, (href, more) in links.items())
    return f'<div class="page-links">{" ".join(items)}</div>'


def citation(
    nb: nbformat.NotebookNode,
    here: str,  # the address of its page
) -> str:
    "How to cite a page, folded."
    cfg, title = settings(), title_cell(nb)["title"]
    title = title if title == cfg["title"] else f"{title}. In: {cfg['title']}"
    key = re.sub(r"\W+", "_", here.removesuffix(".html"))
    entry = f"""@misc{{{cfg["repo"]}_{key},
  author  = {{{{{cfg["author"]}}}}},
  title   = {{{title}}},
  year    = {{{cfg["copyright"][:4]}}},
  version = {{{cfg["version"]}}},
  url     = {{{cfg["doc_host"]}{cfg["doc_baseurl"]}/{here}}},
}}"""
    return f'<details class="cite"><summary>Cite this page</summary>\n\n```bibtex\n{entry}\n```\n\n</details>'
