"""The scripts behind `make`: addresses, links, titles, digests, pages at old addresses."""
import nbformat
import pytest
from bs4 import BeautifulSoup

from tools import addresses, book, execute, freeze, libraries, pages, quarto, reference
from tools.execute import NBS
from tools.links import Links, definitions


def test_a_chapter_is_named_by_its_path():
    assert execute.name_of(NBS / "book" / "01_jensen.ipynb") == execute.name_of("book/01_jensen.ipynb") == "book/01_jensen"
    assert execute.name_of(NBS / "index.ipynb") == "index"


def test_addresses_are_those_of_nbdev():
    from nbdev.doclinks import _nbpath2html
    for path in execute.chapters():
        assert addresses.address(execute.name_of(path)) == _nbpath2html(path.relative_to(NBS)).as_posix()
    found = [addresses.address(execute.name_of(path)) for path in execute.chapters()]
    assert len(set(found)) == len(found)


def test_links_are_relative_to_the_page():
    assert addresses.relative("book/em.html", "book/jensen.html") == "em.html"
    assert addresses.relative("index.html", "book/jensen.html") == "../index.html"
    assert addresses.relative("data/rows.html", "index.html") == "data/rows.html"
    assert addresses.relative("https://a.b/c", "book/jensen.html") == "https://a.b/c"


def cell(source):
    return nbformat.v4.new_markdown_cell(source)


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    "Render two small chapters, one in a folder; without npm's files the libraries come from the CDN."
    def render(title, library="mathjax"):
        copies = {}
        for name, text in {"index": "[on](book/01_next.ipynb#Part)", "book/01_next": "## Part\n\n[back](../index.ipynb)"}.items():
            copies[name] = tmp_path / "run" / f"{name}.ipynb"
            copies[name].parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(nbformat.v4.new_notebook(cells=[cell(title), cell(text)]), copies[name])
        monkeypatch.setattr(pages, "sidebar", lambda: [("", ["index"]), ("Part & parcel", ["book/01_next"])])
        monkeypatch.setattr(libraries, "BUILD", tmp_path)
        monkeypatch.setattr(libraries.shutil, "which", lambda name: None)
        links = Links(nbs := {name: nbformat.read(copy, as_version=4) for name, copy in copies.items()}, {})
        pages.render({name: links.prepare(nb, name) for name, nb in nbs.items()}, {}, tmp_path / "out")
        return {p.relative_to(tmp_path / "out").as_posix(): BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser")
                for p in (tmp_path / "out").rglob("*.html")}
    return render


def test_a_page_in_a_folder_links_as_one_at_the_top_does(rendered):
    pages = rendered("# Title\n\n> Subtitle.")
    assert set(pages) == {"index.html", "book/next.html"}
    deep, top = pages["book/next.html"], pages["index.html"]
    assert [a["href"] for a in deep.select("main a[href$=html]:not(.page-links a)")] == ["../index.html", "../index.html"]
    assert top.select_one("main p:not(.subtitle) a")["href"] == "book/next.html#part"
    assert [link["href"] for link in deep.select("link[rel=stylesheet]")] == ["../book.css", "../styles.css"]
    assert [a["href"] for a in deep.select(".sidebar a")] == ["../index.html", "next.html"]
    assert deep.select_one("[aria-current=page]")["href"] == "next.html"


def test_a_title_stays_in_its_place(rendered):
    nasty = 'a "b" <i>c</i> & $x<y$ \'d\''
    pages = rendered(f'# {nasty}\n\n> {nasty} " onload="alert(1)\n')
    head = pages["index.html"].head
    meta = head.find("meta", attrs={"name": "description"})
    assert set(meta.attrs) == {"name", "content"} and '" onload="alert(1)' in meta["content"]
    assert 'a "b"' in head.title.string
    assert all(set(meta.attrs) <= {"charset", "name", "property", "content"} for meta in head.find_all("meta"))


def test_a_library_from_elsewhere_has_its_digest(rendered):
    page = rendered("# Title")["book/next.html"]
    scripts = page.select("script[src*='://']")
    assert page.form["data-integrity"] == libraries.FRONT_END["lunr"][3]
    assert [script["src"].split("/")[2] for script in scripts] == ["cdn.jsdelivr.net"]
    assert [script["integrity"] for script in scripts] == [libraries.FRONT_END["mathjax"][3]]
    assert all(script["crossorigin"] == "anonymous" for script in scripts)


def test_a_library_with_another_digest_is_refused(tmp_path, monkeypatch):
    package, version, file, _ = libraries.FRONT_END["require"]
    (tmp_path / "npm").mkdir()
    (tmp_path / "npm" / f"{package}-{version}-{file}").write_text("alert(1)")
    monkeypatch.setattr(libraries, "BUILD", tmp_path)
    monkeypatch.setattr(libraries.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="its digest is"):
        libraries.front_end(tmp_path / "out")


def test_an_old_address_leads_on_unless_a_page_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "MOVED", {"00_old": "book/00_old", "data": "data/rows", "gone": "not/there"})
    (tmp_path / "book").mkdir()
    book.redirect(["index", "book/00_old", "data/rows"], tmp_path)
    made = {p.relative_to(tmp_path).as_posix(): BeautifulSoup(p.read_text(), "html.parser") for p in tmp_path.rglob("*.html")}
    leads = {name: soup.select_one("link[rel=canonical]")["href"] for name, soup in made.items()}
    assert leads == {"00_old.html": "book/old.html", "old.html": "book/old.html", "data.html": "data/rows.html",
                     "book/00_old.html": "old.html"}
    for name, soup in made.items():
        assert soup.select_one("meta[http-equiv=refresh]")["content"] == f"0; url={leads[name]}"
        assert soup.a["href"] == leads[name]


def test_widgets_are_numbered_by_chapter():
    nb = nbformat.v4.new_notebook(metadata={"widgets": {freeze.WIDGETS: {"state": {"a" * 32: {}}}}}, cells=[
        nbformat.v4.new_code_cell("w", outputs=[nbformat.v4.new_output("display_data", {freeze.VIEW: {"model_id": "a" * 32}})])])
    states = [set(freeze.stable_ids(nb, name).metadata.widgets[freeze.WIDGETS]["state"]) for name in ("book/a", "data/a", "book/a")]
    assert states[0] == states[2] != states[1]


# Anchors and links

FORMULAS = """## The `GMM` class

Text with $a (1.2)$ and $b$, (1.1), `em(x)`, `x`, `(1.1)`, [a (1.1) b](c.ipynb), (9.9).

$$
a = b \\tag{1.1}
$$

<details><summary>Solution (1.1)</summary>

By (2.1), `steps.hard`.

</details>

```python
em (1.1)
```
"""


@pytest.fixture
def links():
    nbs = {"book/01_a": nbformat.v4.new_notebook(cells=[cell("# A"), cell(FORMULAS)]),
           "book/02_b": nbformat.v4.new_notebook(cells=[cell("# B"), cell("$$c \\tag{2.1}$$")])}
    return nbs, Links(nbs, {"em_notes.driver": ["em"], "em_notes.steps": ["hard"]})


def test_prose_links_to_formulas_and_names(links):
    nbs, links = links
    text = links.prepare(nbs["book/01_a"], "book/01_a").cells[2].source
    assert '<div id="formula-1.1" class="formula">\n\n$$\na = b \\tag{1.1}\n$$\n\n</div>' in text
    assert text.startswith("## The `GMM` class {#the-gmm-class}\n")
    assert '$a (1.2)$ and <span class="whole">$b$,</span> <a href="#formula-1.1">(1.1)</a>, <a href="../api/driver.html#em">`em(x)`</a>, `x`, `(1.1)`, [a (1.1) b](c.ipynb), (9.9).' in text
    assert 'By <a href="b.html#formula-2.1">(2.1)</a>, <a href="../api/steps.html#hard">`steps.hard`</a>.' in text
    assert "<summary>Solution (1.1)</summary>" in text and "```python\nem (1.1)\n```" in text


def test_exported_cells_have_anchors_and_pages_know_their_notebook(links):
    nb = nbformat.v4.new_notebook(cells=[cell("# A"), nbformat.v4.new_code_cell("#| export\nclass A:\n    def b(self): pass\ndef c(): pass")])
    prepared = links[1].prepare(nb, "book/01_a")
    assert '<span id="a"></span><span id="a.b"></span><span id="c"></span>' in prepared.cells[2].source
    assert 'href="../notebooks/book/01_a.ipynb" download' in prepared.cells[1].source
    assert "@misc{em_notes_book_a," in prepared.cells[-1].source


def test_outputs_in_markdown_become_text(links):
    output = nbformat.v4.new_output("display_data", {"text/markdown": "## One\n\n### Two", "text/plain": "x"})
    nb = nbformat.v4.new_notebook(cells=[cell("# A"), nbformat.v4.new_code_cell("show()", outputs=[output])])
    cells = links[1].prepare(nb, "book/01_a").cells
    assert cells[2].outputs == [] and cells[3].source == "## One {#one}\n\n### Two {#two}"


def test_headings_have_pandocs_anchors():
    assert [addresses.slug(h) for h in ("Fisher's identity", "Fisher's-identity", "1. A  word: two", "GMM.start", "42")] == [
        "fishers-identity", "fishers-identity", "a-word-two", "gmm.start", "section"]


def test_definitions_are_found_with_their_lines():
    assert list(definitions("%matplotlib inline\nclass A:\n    def b(self): pass\n\ndef c(): pass")) == [("A", 2), ("A.b", 3), ("c", 5)]


def test_reference_shows_comments_and_no_guessed_types():
    text = reference.entry("em_notes.driver", "em", 7, "driver", set())
    assert text.startswith("## `em` {#em}") and "em_notes/driver.py#L7" in text and "../driver.html#em" in text
    assert "prior=None, # hyperparameters" in text and "NoneType" not in text


# Quarto

def test_quarto_loads_our_libraries():
    libraries = {"mathjax": {"src": "lib/tex.js"}, "require": {"src": "lib/require.js"}, "manager": {"src": "https://cdn/m.js", "integrity": "sha"}}
    html = """<script src="https://cdn.jsdelivr.net/npm/requirejs@2.3.6/require.min.js" integrity="x" crossorigin="anonymous"></script>
<script src="https://cdn.jsdelivr.net/npm/@jupyter-widgets/html-manager@*/dist/embed-amd.js" crossorigin="anonymous"></script>
<script src="https://cdnjs.cloudflare.com/polyfill/v3/polyfill.min.js?features=es6"></script>
<script src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml-full.js" type="text/javascript"></script>
<script src="site_libs/own.js"></script>"""
    found = quarto.local_scripts(html, "book/jensen.html", libraries)
    scripts = BeautifulSoup(found, "html.parser").find_all("script")
    assert [s.get("src") for s in scripts] == ["../lib/require.js", None, "https://cdn/m.js", "../lib/tex.js", "site_libs/own.js"]
    assert '{anywidget: "../lib/anywidget"}' in scripts[1].string and scripts[2]["integrity"] == "sha"


def test_quarto_shows_the_lead_and_lists_the_reference():
    nb = nbformat.v4.new_notebook(cells=[cell("# A\n\n> Lead.\n\n- description: Other.\n- keep: this"), nbformat.v4.new_code_cell("#| hide")])
    staged = quarto.staged(nb)
    assert staged.cells[0].source == "# A\n\n> Lead.\n\n- keep: this" and "include: false" in staged.cells[1].source
    assert quarto.configuration(["api/index"]).endswith("- section: Reference\n      contents:\n      - api/index.ipynb\nmetadata-files:\n- nbdev.yml\n")


def test_citation_agrees_with_the_settings():
    import yaml
    cited, cfg = yaml.safe_load((execute.ROOT / "CITATION.cff").read_text(encoding="utf-8")), addresses.settings()
    assert cited["version"] == cfg["version"] and cited["abstract"] == cfg["description"]
    assert cited["repository-code"] == cfg["git_url"] and cited["url"] == cfg["doc_host"] + cfg["doc_baseurl"]
