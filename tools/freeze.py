"""Write fresh outputs into the notebooks and README.md: the only command that does. Twice gives no diff."""
import argparse
import base64
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbconvert import MarkdownExporter

from .pages import WIDGETS, for_readers
from .execute import NBS, ROOT, chapters, execute_all, forget, name_of

VIEW = "application/vnd.jupyter.widget-view+json"
MODEL_ID = r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"
PICTURES = NBS / "images"


def stable_ids(
    nb: nbformat.NotebookNode,  # with widget state
    name: str,  # of the notebook
) -> nbformat.NotebookNode:
    "Widget models numbered as they appear, instead of at random; those that no output shows are left out."
    widgets = nb.metadata.get("widgets", {}).get(WIDGETS, {})
    models, fresh = widgets.get("state", {}), {}

    def visit(text):  # ids in the text, and in the models behind them
        for old in re.findall(MODEL_ID, text):
            if old in models and old not in fresh:
                fresh[old] = uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{len(fresh)}").hex
                visit(json.dumps(models[old], sort_keys=True))

    visit(json.dumps([cell.get("outputs", []) for cell in nb.cells]))
    if models:
        widgets["state"] = {old: models[old] for old in fresh}
    text = re.sub(MODEL_ID, lambda m: fresh.get(m[0], m[0]), nbformat.writes(nb))
    return nbformat.reads(text, as_version=4)


def freeze(
    path: Path,  # a notebook
    copy: Path,  # its executed copy
) -> bool:  # whether it changed
    "Put the outputs of the executed copy into the notebook, cleaned as nbdev cleans."
    before = path.read_bytes()
    nbformat.write(stable_ids(nbformat.read(copy, as_version=4), name_of(path)), path)
    subprocess.run([Path(sys.executable).with_name("nbdev_clean"), "--fname", path], cwd=ROOT, check=True)
    return path.read_bytes() != before


def pictures(
    nb: nbformat.NotebookNode,  # executed
) -> dict[str, bytes]:  # file name -> content; the notebook's outputs then point there
    "Take the pictures out of a notebook's outputs: a README can't hold them, and shows a still of a player."
    taken, state = {}, nb.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            image = BeautifulSoup(data.get("text/html", ""), "html.parser").find("img")
            if VIEW in data:
                payload = state[data[VIEW]["model_id"]]["state"]["payload"]
                mime, code, alt = "image/png", data["image/png"], json.loads(payload)["alt"]
            elif image:
                mime, code = re.fullmatch(r"data:(image/\w+);base64,(.*)", image["src"]).groups()
                alt = image["alt"]
            else:
                continue
            name = f"index-{len(taken) + 1}.{mime.split('/')[1]}"
            taken[name] = base64.b64decode(code)
            output.data = {"text/markdown": f"![{alt}](nbs/images/{name})"}
    return taken


def readme(
    nb: nbformat.NotebookNode,  # index.ipynb with its outputs
) -> tuple[str, dict[str, bytes]]:  # the text, and the pictures in it by file name
    "README.md, made from the first page of the book."
    nb = nbformat.from_dict(nb)
    title = re.sub(r"^- \w+:.*\n?", "", nb.cells[0].source, flags=re.M).strip()
    shown = for_readers(nb)
    shown.metadata.language_info = {"name": "python"}
    taken = pictures(shown)
    body, _ = MarkdownExporter().from_notebook_node(shown)
    # Links between chapters lead from the top folder here.
    body = re.sub(r"\]\((?!\w+:|#|nbs/)([\w./-]+)", r"](nbs/\1", body)
    text = f"<!-- Made from nbs/index.ipynb by `make freeze`: change it there. -->\n\n{title}\n\n{body}"
    return re.sub(r"[ \t]+$", "", re.sub(r"\n{3,}", "\n\n", text), flags=re.M).strip() + "\n", taken


def write_readme():
    "Write README.md and its pictures, from the index as it stands."
    text, taken = readme(nbformat.read(NBS / "index.ipynb", as_version=4))
    for stale in PICTURES.glob("index-*"):
        if stale.name not in taken:
            stale.unlink()
    for name, content in taken.items():
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / name).write_bytes(content)
    (ROOT / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    options.add_argument("--force", action="store_true", help="run them even where nothing has changed")
    args = options.parse_args()
    paths = [path.resolve() for path in args.notebooks] or chapters()
    if args.force:
        for path in paths:
            forget(path)
    print("Running the notebooks, as far as they or the modules have changed", flush=True)
    changed = [name_of(path) for path, copy in zip(paths, execute_all(paths)) if freeze(path, copy)]
    if NBS / "index.ipynb" in paths:
        write_readme()
    print(f"Outputs written: {', '.join(changed) or 'all were up to date'}")
