"""Every page in a real browser, from a file, without a network and without a kernel."""
import functools
import http.server
import json
import posixpath
import shutil
import threading
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tools import book
from tools.book import address, relative
from tools.execute import chapters, name_of

PAGES = [address(name_of(path)) for path in chapters()]
OFFLINE = bool(shutil.which("npm"))  # without npm the pages load their libraries from a CDN
WIDGET = "application/vnd.jupyter.widget-{}+json"

pytestmark = pytest.mark.browser


def count_players(soup):
    "How many of a page's widgets are players; others, such as `interact`, want a kernel and only have to look right."
    state = soup.find("script", type=WIDGET.format("state"))
    models = json.loads(state.string)["state"] if state else {}
    views = (json.loads(view.string) for view in soup.find_all("script", type=WIDGET.format("view")))
    return sum(models[view["model_id"]]["model_module"] == "anywidget" for view in views)


def open_page(browser, url, players, **options):
    "A page, once its formulas and players stand, with the list of what went wrong on it."
    context = browser.new_context(offline=OFFLINE and url.startswith("file:"), **options)
    page = context.new_page()
    page.problems = []
    page.on("console", lambda m: m.type == "error" and page.problems.append(f"console: {m.text}"))
    page.on("pageerror", lambda e: page.problems.append(f"error: {e}"))
    page.on("requestfailed", lambda r: page.problems.append(f"failed: {r.url[:200]}"))
    page.on("response", lambda r: r.status >= 400 and page.problems.append(f"{r.status}: {r.url[:200]}"))
    page.goto(url)
    page.evaluate("MathJax.startup.promise.then(() => null)")
    page.wait_for_function("n => document.querySelectorAll('.em-player img.em-frame[src]').length >= n", arg=players)
    return page


@pytest.fixture(scope="module")
def soups(site):
    "The pages' HTML, parsed when asked for."
    return functools.cache(lambda name: BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser"))


@pytest.fixture(scope="module", params=PAGES)
def page(request, browser, site, soups):
    players = count_players(soups(request.param))
    url = (site / request.param).as_uri()
    page = open_page(browser, url, players, viewport={"width": 1400, "height": 900})
    page.name = request.param
    yield page
    page.context.close()


def test_page_loads_without_errors(page):
    assert page.problems == []


def test_page_shows_no_markup_and_no_errors(page):
    text = page.inner_text("main")
    for raw in ("#|", "Traceback", "$$", "\\tag{", "\\begin{", "\\frac"):
        assert raw not in text, f"raw {raw} in the text"
    assert page.locator("mjx-merror, [data-mml-node=merror], .output_error").count() == 0


def test_formulas_are_typeset(page, soups):
    text = soups(page.name).select_one("main")
    if any("$" in string for string in text.find_all(string=True) if not string.find_parent(["pre", "code", "script"])):
        assert page.locator("mjx-container svg").count() > 0


def test_page_has_title_and_description(page):
    assert page.title().strip()
    assert len(page.locator("meta[name=description]").get_attribute("content")) > 20
    assert page.locator("h1").count() == 1


def test_images_have_a_description(page):
    alts = page.eval_on_selector_all("main img", "images => images.map(image => image.alt)")
    assert all(alt and not alt.startswith("No description has been provided") for alt in alts), alts


def test_players_move_by_mouse_and_keys(page, soups):
    players = page.locator(".em-player")
    assert players.count() == count_players(soups(page.name))
    for i in range(players.count()):
        player = players.nth(i)
        player.scroll_into_view_if_needed()
        frame, slider = player.locator("img.em-frame"), player.locator("input[type=range]")
        play = player.locator("button").first
        shown = functools.partial(frame.get_attribute, "src")
        assert frame.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 100

        def moved(before, act):
            act()
            page.wait_for_function("([image, src]) => image.src !== src", arg=[frame.element_handle(), before])
            return shown()

        slider.focus()
        page.keyboard.press("Home")
        first = shown()
        second = moved(first, lambda: page.keyboard.press("ArrowRight"))
        assert moved(second, lambda: page.keyboard.press("ArrowLeft")) == first
        box = slider.bounding_box()
        end = {"x": box["width"] - 2, "y": box["height"] / 2}
        last = moved(first, lambda: slider.click(position=end))
        moved(last, lambda: slider.click(position=end | {"x": 2}))
        moved(shown(), play.click)
        if slider.evaluate("slider => slider.value !== slider.max"):  # else it has stopped by itself
            play.click()
        rest = shown()
        page.wait_for_timeout(900)
        assert shown() == rest, "the player goes on after a pause"


def test_links_lead_somewhere(page, site, soups):
    for link in soups(page.name).select("a[href]"):
        url = urlsplit(link["href"])
        if url.scheme or url.netloc:
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.name), unquote(url.path))) if url.path else page.name
        assert (site / target).is_file(), link
        assert "http-equiv" not in (site / target).read_text(encoding="utf-8")[:400], f"{link} goes a long way round"
        if url.fragment and target.endswith(".html"):
            assert soups(target).find(id=unquote(url.fragment)), link


def test_chapters_are_listed_in_order(page, soups):
    soup = soups(page.name)
    links = [relative(name, page.name) for name in PAGES]
    here = PAGES.index(page.name)
    assert [a["href"] for a in soup.select(".sidebar a")] == links
    assert [a["href"] for a in soup.select("[aria-current=page]")] == [links[here]]
    assert [a["href"] for a in soup.select(".pager a")] == links[max(here - 1, 0):here] + links[here + 1:here + 2]


def test_sections_are_listed_beside_the_text(page, soups):
    soup = soups(page.name)
    assert [a["href"] for a in soup.select(".toc a")] == [f"#{h['id']}" for h in soup.select("main h2, main h3")]


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_phone(browser, site, soups, name):
    players = count_players(soups(name))
    page = open_page(browser, (site / name).as_uri(), players, viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.context.close()


def test_site_works_over_http(browser, site, soups):
    handler = functools.partial(QuietHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("index.html", next(name for name in PAGES if "/" in name and count_players(soups(name)))):
            page = open_page(browser, f"http://127.0.0.1:{server.server_port}/{name}", count_players(soups(name)))
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
