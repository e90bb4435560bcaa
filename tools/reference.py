"""The reference: for each module a notebook with what nbdev's `show_doc` says of its public functions and classes."""
import importlib
import inspect
from functools import cache, cached_property
from pathlib import Path

import nbformat
from nbdev.showdoc import show_doc

from .addresses import address, relative, settings, title_cell
from .execute import ROOT
from .links import Links, definitions, issue_link, link_line, markdown, module_of, page_of, plain, reference_name, unique

INDEX = "api/index"


@cache
def public(
    module: str,  # "em_notes.models.mixture"
) -> dict[str, int]:  # "GMM.start" -> line in its file
    "The functions and classes that a module exports, and their methods: what the package itself offers first, then as in the file."
    package, mod = importlib.import_module(settings()["lib_name"]), importlib.import_module(module)
    found = dict(definitions(Path(mod.__file__).read_text(encoding="utf-8")))
    names = (name for name in found
             if name.split(".")[0] in mod.__all__ and not any(part.startswith("_") for part in name.split(".")))
    return {name: found[name] for name in sorted(names, key=lambda name: name.split(".")[0] not in package.__all__)}


def modules(
    nbs: dict[str, nbformat.NotebookNode],  # name of a chapter -> notebook
) -> dict[str, str]:  # module -> name of its chapter
    "The modules that notebooks export."
    return {module: name for name, nb in nbs.items() if (module := module_of(nb)) and public(module)}


def signature(
    obj: object,  # function or class
    name: str,  # "GMM.start"
) -> str:  # Python
    "A signature with the comments beside its parameters, as nbdev shows it."
    try:
        shown = show_doc(obj, name=name)
    except NameError:  # an annotation that was inherited, from a module with other imports
        return f"{'class' if inspect.isclass(obj) else 'def'} {name.split('.')[-1]}{inspect.signature(obj)}"
    for parameter in shown.sig.parameters.values() if shown.sig else ():
        if parameter.annotation is parameter.empty and parameter.name in shown.dm.dm:
            shown.dm.dm[parameter.name].pop("anno", None)  # nbdev's guess from the default
    text = str(shown.dm)
    return "class " + text.removeprefix("def ").removesuffix("\n):") + "\n)" * text.endswith("\n):") if inspect.isclass(obj) else text


def entry(
    module: str,
    name: str,  # "GMM.start"
    line: int,  # of its file
    chapter: str,  # name of the module's notebook
    seen: set[str],  # anchors on its page; gains this one
) -> str:  # markdown
    "One function, class or method: heading, links, signature, docstring."
    cfg, obj = settings(), importlib.import_module(module)
    *outer, last = name.split(".")
    for part in outer:
        obj = getattr(obj, part)
    raw = inspect.getattr_static(obj, last)
    obj = plain(raw if isinstance(raw, (property, cached_property)) else getattr(obj, last))
    path = Path(importlib.import_module(module).__file__).relative_to(ROOT).as_posix()
    links = link_line({
        "Source": (f"{cfg['git_url']}/blob/{cfg['branch']}/{path}#L{line}", f' aria-label="Source of {name}"'),
        "In the notebook": (f"{relative(address(chapter), page_of(module))}#{name.lower()}", f' aria-label="{name} in the notebook"'),
    })
    bases = [f"`{base.__name__}`" for base in getattr(obj, "__bases__", ()) if base.__module__.startswith(cfg["lib_name"])]
    of_field = isinstance(raw, (property, cached_property))
    parts = [f"{'###' if outer else '##'} `{name}` {{#{unique(name.lower(), seen)}}}", links,
             "" if of_field else f"```python\n{signature(obj, name)}\n```", inspect.getdoc(obj) or "",
             f"A kind of {', '.join(bases)}." if bases else ""]
    return "\n\n".join(part for part in parts if part)


def page(
    module: str,
    chapter: str,  # name of its notebook
    nb: nbformat.NotebookNode,  # this notebook
) -> nbformat.NotebookNode:
    "The reference of one module."
    cfg, names = settings(), public(module)
    imports = ", ".join(name for name in names if "." not in name)
    path = module.replace(".", "/") + ".py"
    intro = f"Functions and classes of `{module}`. The notebook [{title_cell(nb)['title']}]({relative(chapter + '.ipynb', page_of(module))}) explains them, with examples and tests."
    links = link_line({"Source": (f"{cfg['git_url']}/blob/{cfg['branch']}/{path}", "")}
                      | issue_link(address(reference_name(module))))
    seen = set()
    cells = [f"# {module.partition('.')[2]}\n\n> {title_cell(nb)['subtitle']}", links, intro,
             f"```python\nfrom {module} import {imports}\n```" if len(imports) < 100 else "",
             *(entry(module, name, line, chapter, seen) for name, line in names.items())]
    return nbformat.v4.new_notebook(cells=[markdown(cell) for cell in cells if cell])


def index(
    nbs: dict[str, nbformat.NotebookNode],  # name of a chapter -> notebook
    found: dict[str, str],  # module -> name of its chapter
) -> nbformat.NotebookNode:
    "The first page of the reference: what can be imported from the package itself, and all modules."
    package = importlib.import_module(settings()["lib_name"])
    top = [f"| `{name}` | {(inspect.getdoc(plain(getattr(package, name))) or '').partition(chr(10))[0]} |" for name in sorted(package.__all__, key=str.lower)]
    rows = [f"| [{module.partition('.')[2]}]({reference_name(module).removeprefix('api/')}.ipynb) | {title_cell(nbs[name])['subtitle']} |" for module, name in found.items()]
    cells = [f"# Reference\n\n> What `{package.__name__}` offers, from the comments beside its parameters and its docstrings.",
             f"## The package\n\n`from {package.__name__} import …`\n\n| name | |\n|---|---|\n" + "\n".join(top),
             "## Modules\n\n| module | |\n|---|---|\n" + "\n".join(rows)]
    return nbformat.v4.new_notebook(cells=[markdown(cell) for cell in cells])


def prepare(
    nbs: dict[str, nbformat.NotebookNode],  # name of a chapter -> notebook
) -> tuple[dict[str, nbformat.NotebookNode], dict[str, nbformat.NotebookNode]]:  # chapters, pages of the reference
    "Notebooks for either renderer: the chapters with their links, and the reference."
    found = modules(nbs)
    links = Links(nbs, {module: list(public(module)) for module in found})
    pages = {None: index(nbs, found)} | {module: page(module, name, nbs[name]) for module, name in found.items()}
    reference = {module: reference_name(module) if module else INDEX for module in pages}
    return ({name: links.prepare(nb, name) for name, nb in nbs.items()},
            {reference[module]: links.prepare_reference(nb, reference[module], module) for module, nb in pages.items()})
