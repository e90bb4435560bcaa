"""The search index: one entry for each heading, made here with lunr, read by lunr.js from a script, also from file://."""
import json
import re
from pathlib import Path

from bs4 import Tag
from lunr import lunr

EXCERPT = 140  # characters
BOOST = {"book": 6, "api": 1}  # the lessons come first, the reference last
BREAK = "\f"  # where a heading stood


def sections(
    main: Tag,  # the text of a rendered page; taken apart
    address: str,  # of this page
) -> list[dict[str, str]]:  # ref, title, heading, text
    "A page in pieces, each what stands below one heading."
    for skipped in [*main.find_all(["script", "style", "svg", "pre", "nav"]), *main.find_all(class_=["page-links", "cite"])]:
        skipped.decompose()
    title = main.h1.get_text(" ", strip=True)
    found = [{"ref": address, "title": title, "heading": title, "text": ""}]
    for heading in main.find_all(["h2", "h3", "h4"]):
        found.append({"ref": f"{address}#{heading['id']}", "title": title, "heading": heading.get_text().strip(), "text": ""})
        heading.replace_with(BREAK)
    main.h1.decompose()
    for section, text in zip(found, main.get_text(" ").split(BREAK), strict=True):
        section["text"] = text
    return found


def words(
    text: str,
) -> str:  # what lunr takes apart at its spaces
    "A text without mathematics' markup: words, numbers and dotted names; of a formula the letters and its number."
    text = re.sub(r"\\tag\{(.+?)\}", r" \1 ", text)
    text = re.sub(r"\\[A-Za-z]+|['’]s\b", " ", text)
    return " ".join(re.findall(r"\w+(?:\.\w+)*", text))


def index(
    found: list[dict[str, str]],  # sections of all pages
    out: Path,  # the site's folder
):
    "Write `search-index.js`."
    documents = [({"ref": str(i), "heading": words(s["heading"]), "text": words(s["text"])},
                  {"boost": BOOST.get(s["ref"].split("/")[0], 2)}) for i, s in enumerate(found)]
    made = lunr(ref="ref", fields=[{"field_name": "heading", "boost": 8}, "text"], documents=documents)
    shown = [[s["ref"], s["title"], s["heading"], excerpt(s["text"])] for s in found]
    data = json.dumps({"sections": shown, "index": made.serialize()}, ensure_ascii=False, separators=(",", ":"))
    (out / "search-index.js").write_text(f"SEARCH_INDEX = {data};\n", encoding="utf-8")


def excerpt(text: str) -> str:
    "The beginning of a text, to a word's end; formulas without their markup."
    text = re.sub(r"\$\$?(.+?)\$\$?", lambda formula: re.sub(r"\\tag\{.*?\}|\\[A-Za-z]+|\\.|[{}]", " ", formula[1]), text, flags=re.S)
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT else text[:EXCERPT].rsplit(" ", 1)[0] + " …"
