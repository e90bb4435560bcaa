"""The scripts behind `make`: addresses, links, titles, digests, pages at old addresses."""
import nbformat
import pytest
from bs4 import BeautifulSoup

from tools import book, execute, freeze
from tools.execute import NBS


def test_a_chapter_is_named_by_its_path():
    assert execute.name_of(NBS / "book" / "01_jensen.ipynb") == execute.name_of("book/01_jensen.ipynb") == "book/01_jensen"
    assert execute.name_of(NBS / "index.ipynb") == "index"


def test_addresses_are_those_of_nbdev():
    from nbdev.doclinks import _nbpath2html
    for path in execute.chapters():
        assert book.address(execute.name_of(path)) == _nbpath2html(path.relative_to(NBS)).as_posix()
    addresses = [book.address(execute.name_of(path)) for path in execute.chapters()]
    assert len(set(addresses)) == len(addresses)


def test_links_are_relative_to_the_page():
    assert book.relative("book/em.html", "book/jensen.html") == "em.html"
    assert book.relative("index.html", "book/jensen.html") == "../index.html"
    assert book.relative("data/rows.html", "index.html") == "data/rows.html"
    assert book.relative("https://a.b/c", "book/jensen.html") == "https://a.b/c"


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
        monkeypatch.setattr(book, "sidebar", lambda: [("", ["index"]), ("Part & parcel", ["book/01_next"])])
        monkeypatch.setattr(book, "BUILD", tmp_path)
        monkeypatch.setattr(book.shutil, "which", lambda name: None)
        book.render(copies, tmp_path / "out")
        return {p.relative_to(tmp_path / "out").as_posix(): BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser")
                for p in (tmp_path / "out").rglob("*.html")}
    return render


def test_a_page_in_a_folder_links_as_one_at_the_top_does(rendered):
    pages = rendered("# Title\n\n> Subtitle.")
    assert set(pages) == {"index.html", "book/next.html"}
    deep, top = pages["book/next.html"], pages["index.html"]
    assert [a["href"] for a in deep.select("main a[href$=html]")] == ["../index.html", "../index.html"]
    assert top.select_one("main a")["href"] == "book/next.html#part"
    assert [link["href"] for link in deep.select("link[rel=stylesheet]")] == ["../book.css", "../styles.css"]
    assert [a["href"] for a in deep.select(".sidebar a")] == ["../index.html", "next.html"]
    assert deep.select_one("[aria-current=page]")["href"] == "next.html"


def test_a_title_stays_in_its_place(rendered):
    nasty = 'a "b" <i>c</i> & $x<y$ \'d\''
    pages = rendered(f'# {nasty}\n\n> {nasty} " onload="alert(1)\n')
    head = pages["index.html"].head
    meta = head.find("meta", attrs={"name": "description"})
    assert set(meta.attrs) == {"name", "content"} and '" onload="alert(1)' in meta["content"]
    assert 'a "b"' in head.title.string and len(head.find_all("meta")) == 3


def test_a_library_from_elsewhere_has_its_digest(rendered):
    scripts = rendered("# Title")["book/next.html"].select("script[src]")
    assert [script["src"].split("/")[2] for script in scripts] == ["cdn.jsdelivr.net"]
    assert [script["integrity"] for script in scripts] == [book.FRONT_END["mathjax"][3]]
    assert all(script["crossorigin"] == "anonymous" for script in scripts)


def test_a_library_with_another_digest_is_refused(tmp_path, monkeypatch):
    package, version, file, _ = book.FRONT_END["require"]
    (tmp_path / "npm").mkdir()
    (tmp_path / "npm" / f"{package}-{version}-{file}").write_text("alert(1)")
    monkeypatch.setattr(book, "BUILD", tmp_path)
    monkeypatch.setattr(book.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="its digest is"):
        book.front_end(tmp_path / "out")


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
