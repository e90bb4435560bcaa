"""Every page in a real browser, without a network and without a kernel: one visit looks at all that a reader would.

`pytest tests/site/test_pages.py --site DIR` looks at any rendered folder, by nbconvert or by Quarto.
"""
import functools
import html
import http.server
import json
import posixpath
import re
import shutil
import threading
from importlib.resources import files
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from em_notes._modidx import d as MODIDX
from tools import book, reference
from tools.addresses import address, relative, slug
from tools.execute import chapters, name_of
from tools.links import TAG, formula_id, reference_name

NBS = {name_of(path): nbformat.read(path, as_version=4) for path in chapters()}
PAGES = [address(name) for name in NBS]
REFERENCE = [address(reference.INDEX), *(address(reference_name(module)) for module in reference.modules(NBS))]
OFFLINE = bool(shutil.which("npm"))  # without npm the pages load their libraries from a CDN
WIDGET = "application/vnd.jupyter.widget-{}+json"
# A number such as (6.3) is a formula's; one that prose has for another reason is written without these parentheses.
NUMBER = re.compile(r"\([0-9A-Z]\.\d{1,2}[a-z]?\)")
SIDEBAR, HERE, PAGER, TOC = (".sidebar a, #quarto-sidebar a.sidebar-link", "[aria-current=page], #quarto-sidebar a.active",
                             ".pager a, .page-navigation a", ".toc a, #TOC a")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def soups(site):
    "The pages' HTML, parsed when asked for."
    return functools.cache(lambda name: BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser"))


def count_figures(soup):
    "How many of a page's widgets are figures of ours, and how many of these are players; others want a kernel."
    state = soup.find("script", type=WIDGET.format("state"))
    models = json.loads(state.string)["state"] if state else {}
    views = [json.loads(view.string)["model_id"] for view in soup.find_all("script", type=WIDGET.format("view"))]
    ours = [models[view]["state"] for view in views if models[view]["model_module"] == "anywidget"]
    return len(ours), sum("em-player" in figure.get("_esm", "") for figure in ours)


def open_page(browser, url, figures=0, **options):
    "A page, once its formulas and figures stand, with the list of what went wrong on it."
    context = browser.new_context(offline=OFFLINE and url.startswith("file:"), **options)
    page = context.new_page()
    page.problems = []
    page.on("console", lambda m: m.type == "error" and page.problems.append(f"console: {m.text}"))
    page.on("pageerror", lambda e: page.problems.append(f"error: {e}"))
    page.on("requestfailed", lambda r: page.problems.append(f"failed: {r.url[:200]}"))
    page.on("response", lambda r: r.status >= 400 and page.problems.append(f"{r.status}: {r.url[:200]}"))
    page.on("request", lambda r: OFFLINE and r.url.startswith("http") and not r.url.startswith("http://127.0.0.1")
            and page.problems.append(f"from elsewhere: {r.url[:200]}"))
    page.goto(url)
    page.evaluate("window.MathJax?.startup?.promise?.then(() => null)")
    page.wait_for_function("n => document.querySelectorAll('.em-player img.em-frame[src], .em-live svg').length >= n", arg=figures)
    return page


# What one visit looks at: each yields what is wrong.

def errors(page, soup):
    yield from page.problems
    text = page.inner_text("main")
    for raw in ("#|", "Traceback", "$$", "\\tag{", "\\begin{", "\\frac", "{#"):
        if raw in text:
            yield f"raw {raw} in the text"
    for error in page.locator("mjx-merror, [data-mml-node=merror], .output_error, .cell-output-error").all():
        yield f"an error in place of a formula or output: {error.text_content()[:80]}"
    prose = (t for t in soup.select_one("main").find_all(string=True) if not t.find_parent(["pre", "code", "script"]))
    if any("$" in text or "\\(" in text for text in prose) and not page.locator("mjx-container").count():
        yield "formulas are not typeset"


def head(page, soup):
    if not page.title().strip() or page.locator("h1").count() != 1:
        yield "no title, or not one h1"
    for meta, least in {"[name=description]": 20, "[property='og:title']": 1, "[property='og:description']": 20}.items():
        content = page.locator(f"meta{meta}").first.get_attribute("content") or ""
        if not least <= len(content) < 400:
            yield f"meta{meta} is {content!r}"
    card = page.locator("meta[property='og:image']").first.get_attribute("content")
    if not card.endswith("/images/card.png"):
        yield f"the social card is {card[:80]!r}"
    if not page.locator("link[rel=icon]").first.get_attribute("href").endswith("icon.svg"):
        yield "no icon"


def lead(page, soup, name):
    "The `>` sentence below the title is shown."
    said = re.sub(r"\W+", " ", BeautifulSoup(book.pages.inline(book.pages.title_cell(NBS[name])["subtitle"]), "html.parser").get_text())
    shown = page.locator(".subtitle, #title-block-header .description").first
    if said.strip() and ("$" not in NBS[name].cells[0].source) and said.split() != re.sub(r"\W+", " ", shown.inner_text()).split():
        yield f"the sentence below the title is {shown.inner_text()!r}"


def pictures(page, soup):
    for image in page.locator("main img").all():
        alt = image.get_attribute("alt")
        if not alt or alt.startswith("No description has been provided"):
            yield f"a picture without a description: {(image.get_attribute('src') or '')[:60]}"


def players(page, soup):
    "Players move by mouse and keys, and stop when told."
    found = page.locator(".em-player")
    if found.count() != count_figures(soup)[1]:
        yield f"{found.count()} players, not {count_figures(soup)[1]}"
    for player in found.all():
        player.scroll_into_view_if_needed()
        frame, slider = player.locator("img.em-frame"), player.locator("input[type=range]")
        play, shown = player.locator("button").first, functools.partial(frame.get_attribute, "src")
        assert frame.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 100

        def moved(before, act):
            act()
            page.wait_for_function("([image, src]) => image.src !== src", arg=[frame.element_handle(), before])
            return shown()

        slider.focus()
        page.keyboard.press("Home")
        first = shown()
        second = moved(first, lambda: page.keyboard.press("ArrowRight"))
        if moved(second, lambda: page.keyboard.press("ArrowLeft")) != first:
            yield "ArrowLeft doesn't undo ArrowRight"
        box = slider.bounding_box()
        end = {"x": box["width"] - 2, "y": box["height"] / 2}
        last = moved(first, lambda: slider.click(position=end))
        moved(last, lambda: slider.click(position=end | {"x": 2}))
        moved(shown(), play.click)
        if slider.evaluate("slider => slider.value !== slider.max"):  # else it has stopped by itself
            play.click()
        rest = shown()
        page.wait_for_timeout(800)
        if shown() != rest:
            yield "the player goes on after a pause"


# The sliders of `interact` are ipywidgets' own. Most elements of a page are strokes of formulas and words of code; axe looks at each for its colour, so a few must do.
THIN = """() => {
  document.querySelectorAll("mjx-container").forEach(formula => formula.replaceWith("x"));
  [...document.querySelectorAll("main pre")].slice(6).forEach(code => code.replaceWith("x"));
}"""
AXE = """async rules => {
  const found = await axe.run({exclude: [".widget-slider"]}, {resultTypes: ["violations"], ...(rules ? {runOnly: rules} : {})});
  return found.violations.filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.length} times, first ${v.nodes[0].html.slice(0, 200)} ${v.nodes[0].failureSummary.slice(0, 300)}`);
}"""


def accessible(page, soup):
    "Nothing that axe calls serious, in light and in dark. Takes the page apart: the last to look."
    page.evaluate(THIN)
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    yield from page.evaluate(AXE, None)
    toggle = page.locator(".theme, .quarto-color-scheme-toggle").locator("visible=true").first
    light = page.evaluate("getComputedStyle(document.body).color")
    toggle.click()
    page.wait_for_timeout(50)
    if page.evaluate("getComputedStyle(document.body).color") == light:
        yield "dark mode changes nothing"
    yield from (f"dark: {fault}" for fault in page.evaluate(AXE, ["color-contrast"]))
    toggle.click()


CUT = """() => [...document.querySelectorAll("main .highlight pre, main pre.sourceCode")].filter(pre => pre.checkVisibility()).map(pre => {
  const range = document.createRange();
  range.selectNodeContents(pre);
  const lines = pre.textContent.trimEnd().split("\\n");
  const longest = Math.max(...lines.map(line => line.length));
  const wide = pre.scrollWidth / Math.max(longest, 1);
  return [lines.length, pre.scrollWidth > pre.clientWidth ? lines.filter(line => line.length * wide > pre.clientWidth + 1).length : 0];
})"""


def widths(page, soup):
    "On a desk the headings stand beside the text and code fits; on a phone nothing slides sideways."
    if soup.select(TOC) and not page.locator(TOC).first.is_visible():
        yield "no list of headings at 1280 px"
    lines, cut = (sum(numbers) for numbers in zip(*page.evaluate(CUT) or [(0, 0)]))
    if cut > max(3, (0.06 if "/book/" in page.url else 0.25) * lines):  # a lesson's lines are short, a module's may be long
        yield f"{cut} of {lines} lines of code are cut at 1280 px"
    page.set_viewport_size({"width": 390, "height": 844})
    if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
        yield f"the page is {width} px wide on a phone of 390"
    page.set_viewport_size({"width": 1280, "height": 900})


@functools.cache
def places(path):
    "The anchors of a page, and whether it only leads on to another."
    text = path.read_text(encoding="utf-8")
    return set(map(html.unescape, re.findall(r'\sid="([^"]+)"', text))), 'http-equiv="refresh"' in text[:600]


def links(page, soup, here, site):
    for link in soup.select("a[href]"):
        url = urlsplit(link["href"])
        if url.scheme or url.netloc:
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), unquote(url.path))) if url.path else here
        if not (site / target).is_file():
            yield f"leads nowhere: {link}"
            continue
        if not target.endswith(".html"):
            continue
        ids, moved = places(site / target)
        if moved:
            yield f"goes a long way round: {link}"
        elif url.fragment and unquote(url.fragment) not in ids:
            yield f"leads to no place on {target}: {link}"
    for text in soup.select_one("main").find_all(string=NUMBER):
        if not text.find_parent(["a", "pre", "code", "script", "style", "h1", "h2", "h3", "h4", "summary"]):
            plain = re.sub(r"\$(?:\\.|[^$\\])+\$|\\\(.*?\\\)|\\\[.*?\\\]|\$\$.*?\$\$", "", text, flags=re.S)
            yield from (f"{number} is no formula's number" for number in NUMBER.findall(plain))


def order(page, soup, here):
    pages = [link for link in [relative(name, here) for name in PAGES + REFERENCE]]
    def clean(found):
        return [posixpath.normpath(a["href"]) for a in found if not a["href"].startswith("#")]
    if clean(soup.select(SIDEBAR)) != pages:
        yield "the list of chapters is another"
    if clean(soup.select(HERE)) != [relative(here, here)]:
        yield f"the chapter is not marked in their list: {soup.select(HERE)}"
    i = (PAGES + REFERENCE).index(here)
    if clean(soup.select(PAGER)) != pages[max(i - 1, 0):i] + pages[i + 1:i + 2]:
        yield "the links at the end lead elsewhere than one back, one on"
    headings = [f"#{h.get('id') or h.parent.get('id')}" for h in soup.select("main h2:not(#toc-title), main h3, main h4")]
    if [a["href"] for a in soup.select(TOC)] != headings:
        yield "the headings on this page are not those listed"
    ids = [tag["id"] for tag in soup.select("main [id]")]
    if doubles := {one for one in ids if ids.count(one) > 1}:
        yield f"anchors twice: {doubles}"


def notebook_links(page, soup, name):
    ends = {"Notebook": f"notebooks/{name}.ipynb", "Colab": f"/nbs/{name}.ipynb", "Source": f"/nbs/{name}.ipynb", "Report a fault": address(name).replace("/", "%2F")}
    found = {a.get_text(): a["href"] for a in soup.select(".page-links:first-of-type a")}
    yield from (f"no link {text} to …{end}: {found}" for text, end in ends.items() if not found.get(text, "").endswith(end))


def anchors(name, soup):
    "Headings, formulas and functions of a chapter have the anchors that others link to."
    ids = {tag["id"] for tag in soup.select("main [id]")}
    for cell in NBS[name].cells[1:]:
        if cell.cell_type == "markdown":
            prose = re.sub(r"^```.*?^```", "", cell.source, flags=re.M | re.S)
            wanted = {formula_id(tag) for tag in TAG.findall(prose)}
            wanted |= {slug(re.sub(r"[`*]", "", h)) for h in re.findall(r"^#{2,4} ([^$\n]+)$", prose, re.M)}
            yield from (f"no anchor {anchor}" for anchor in wanted - ids)
    for module in MODIDX["syms"].values():
        for place, _ in module.values():
            page, _, anchor = place.partition("#")
            if page == address(name) and anchor not in ids:
                yield f"no anchor {anchor}, which _modidx.py promises"


@pytest.mark.parametrize("name", NBS)
def test_chapter(browser, site, soups, name):
    here = address(name)
    soup = soups(here)
    page = open_page(browser, (site / here).as_uri(), count_figures(soup)[0], viewport={"width": 1280, "height": 900}, color_scheme="light")
    faults = [*errors(page, soup), *head(page, soup), *lead(page, soup, name), *pictures(page, soup), *players(page, soup), *widths(page, soup),
              *links(page, soup, here, site), *order(page, soup, here), *notebook_links(page, soup, name), *anchors(name, soup), *accessible(page, soup)]
    page.context.close()
    assert faults == []


@pytest.mark.parametrize("here", REFERENCE)
def test_page_of_the_reference(browser, site, soups, here):
    soup = soups(here)
    page = open_page(browser, (site / here).as_uri(), viewport={"width": 1280, "height": 900}, color_scheme="light")
    faults = [*errors(page, soup), *head(page, soup), *widths(page, soup), *links(page, soup, here, site),
              *order(page, soup, here), *accessible(page, soup)]
    page.context.close()
    assert faults == []


# The site as a whole

def test_reference_explains_what_the_package_offers(soups):
    import em_notes
    linked = {a.get_text() for a in soups("api/index.html").select("main a") if "#" in a["href"]}
    assert set(em_notes.__all__) - linked <= {"steps"}
    entry = soups("api/models/mixture.html").find(id="gmm.start").find_parent(["h3", "section"]) or soups("api/models/mixture.html").find(id="gmm.start")
    assert "GMM.start" in entry.get_text()
    source = next(a["href"] for a in soups("api/driver.html").select(".page-links a") if a.get("aria-label") == "Source of em")
    path, line = re.search(r"/blob/main/(.+)#L(\d+)$", source).groups()
    assert (book.ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1].startswith("def em(")
    text = soups("api/driver.html").select_one("main").get_text()
    assert "hyperparameters for MAP-EM" in text and "NoneType" not in text


def test_code_names_and_formulas_are_links(soups):
    found = [a for name in PAGES for a in soups(name).select("main a")]
    numbers = [a for a in found if NUMBER.fullmatch(a.get_text())]
    names = [a for a in found if a.select_one("code") and "api/" in a["href"]]
    assert len(numbers) > 100 and all("#formula-" in a["href"] for a in numbers)
    assert len(names) > 100
    driver = {a.get_text(): a["href"] for a in soups("index.html").select("main a")}
    assert driver["steps.hard"] == "api/steps.html#hard"


def test_no_number_is_two_formulas():
    tags = [tag for nb in NBS.values() for cell in nb.cells if cell.cell_type == "markdown" for tag in set(TAG.findall(cell.source))]
    assert {tag for tag in tags if tags.count(tag) > 1} == set()


def test_a_formula_that_mathjax_refuses_is_seen(browser, site):
    page = open_page(browser, (site / "index.html").as_uri())
    page.evaluate("""async () => {
      const p = document.createElement("p");
      p.textContent = "\\\\(\\\\texttt{log_norm}\\\\)";
      document.querySelector("main").append(p);
      await MathJax.typesetPromise([p]);
    }""")
    assert page.locator("mjx-merror, [data-mml-node=merror]").count() == 1
    page.context.close()


def test_search(browser, site):
    if (site / "search.json").is_file():  # Quarto's own
        return
    page = open_page(browser, (site / "book" / "mixture.html").as_uri(), viewport={"width": 1280, "height": 900})
    page.keyboard.press("/")
    for text, place in {"responsibilities": "book/mixture.html", "6.3": "#", "GMM.start": "api/models/mixture.html#gmm.start", "baum": "hmm.html",
                        "Viterbj": "", "jensen": "book/jensen.html"}.items():
        page.locator(".search input").fill(text)
        page.wait_for_function("() => document.querySelector('#found p').textContent.match(/place/) && !document.querySelector('#found').hidden")
        page.wait_for_timeout(50)
        hits = page.eval_on_selector_all("#found a", "links => links.slice(0, 5).map(link => link.getAttribute('href'))")
        assert any(place in hit for hit in hits), (text, hits)
    page.keyboard.press("ArrowDown")
    first = page.evaluate("document.activeElement.closest('#found a').href")
    assert "/book/" in first  # the lessons come first
    page.keyboard.press("Enter")
    page.wait_for_url(first)
    page.keyboard.press("/")
    page.locator(".search input").fill("zzzxqq")
    page.get_by_text("Nothing about").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()
    page.context.close()


def test_dark_mode_follows_the_system_and_the_reader(browser, site):
    page = open_page(browser, (site / "index.html").as_uri(), color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor + getComputedStyle(document.body).backgroundColor")
    page.locator(".theme, .quarto-color-scheme-toggle").locator("visible=true").first.click()
    page.wait_for_function("before => before !== getComputedStyle(document.documentElement).backgroundColor + getComputedStyle(document.body).backgroundColor", arg=dark)
    light = page.evaluate("getComputedStyle(document.body).color")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).color") == light  # remembered
    page.context.close()


def test_site_works_over_http(browser, site, soups):
    handler = functools.partial(QuietHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("index.html", next(name for name in PAGES if "/" in name and count_figures(soups(name))[0])):
            page = open_page(browser, f"http://127.0.0.1:{server.server_port}/{name}", count_figures(soups(name))[0])
            assert page.problems == []
            page.context.close()
        server.shutdown()


@pytest.mark.parametrize("old", ["00_jensen.html", "jensen.html", "data.html", "book/01_jensen.html"])
def test_old_addresses_lead_on(browser, site, old):
    context = browser.new_context(offline=OFFLINE)
    page = context.new_page()
    page.goto((site / old).as_uri() + "#exercise")
    page.wait_for_url("**/book/jensen.html#exercise" if "jensen" in old else "**/data/rows.html#exercise")
    context.close()


def test_every_page_that_was_at_the_top_is_still_there(site):
    for old in book.MOVED:
        for name in {f"{old}.html", address(old)}:
            assert (site / name).is_file(), name


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
