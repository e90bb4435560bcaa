"The frame player and the shared plots, without a browser."
import base64, io, json, os, re, subprocess, sys

import numpy as np
import pytest
import traitlets
from hypothesis import given, settings, strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from em_notes import widgets
from em_notes.widgets import COLORS, FramePlayer, blend, plot_bounds, plot_ellipse, plot_mixture, plot_resp_1d, show, style


def line(ax, i):
    ax.plot([0, 1, 2], [0, 1, i], "o-")
    ax.set(ylim=(0, 9))


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def player():
    return FramePlayer(line, 4, labels=["a", "b", "c", "d"], caption="Caption <b> & 'θ'", alt="A line", start=1)


def test_payload(player):
    state = json.loads(player.payload)
    assert [base64.b64decode(f) for f in state["frames"]] == player.frames
    assert state["labels"] == ["a", "b", "c", "d"] and state["caption"] == "Caption <b> & 'θ'" and state["alt"] == "A line"
    assert state["mime"] in ("image/png", "image/webp") and player.index == 1
    sizes = {Image.open(io.BytesIO(f)).size for f in player.frames}
    assert sizes == {(704, 374)}
    assert len({*player.frames}) == 4


def test_state_is_one_string(player):
    big = [k for k, v in player.get_state().items() if len(str(v)) > 10_000]
    assert big == ["payload"] and isinstance(player.get_state()["payload"], str)


def test_bytes_are_deterministic(player):
    assert FramePlayer(line, 4).frames == player.frames


def test_user_configuration_changes_nothing(player):
    import matplotlib
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30, "figure.dpi": 50}):
        assert FramePlayer(line, 4).frames == player.frames


def test_frames_are_small_and_sharp():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(272, 2))
    player = FramePlayer(lambda ax, i: plot_mixture(ax, x, np.full((272, 1), 1.0), [[0, i/5]], [np.eye(2)]), 6)
    assert max(map(len, player.frames)) < 16_000
    image = pixels(player.frames[0])
    assert (image[0, 0] == 255).all()                          # white stays white
    blue = (np.array(to_rgb(COLORS[0]))*255).round().astype(int)
    assert (image == blue).all(-1).any()                       # and the ellipse keeps its colour
    assert len(np.unique(image.reshape(-1, 3), axis=0)) <= widgets.MAX_COLORS


def test_rare_colour_survives():
    def draw(ax, i):
        ax.imshow(np.add.outer(np.arange(60), np.arange(60)), cmap="Oranges_r")  # hundreds of common shades
        ax.plot(30, 30, "o", color=COLORS[0], markersize=4)
    image = pixels(FramePlayer(draw, 1).frames[0])
    assert np.abs(image - np.array(to_rgb(COLORS[0]))*255).max(-1).min() <= 1


def test_same_palette_in_all_frames():
    def draw(ax, i): ax.imshow(np.sin(np.add.outer(np.arange(30), np.arange(30))/5 + i))
    frames = FramePlayer(draw, 5).frames
    colors = {tuple(c) for f in frames for c in np.unique(pixels(f).reshape(-1, 3), axis=0)}
    assert len(colors) <= widgets.MAX_COLORS


def test_axes_do_not_jump():
    def draw(ax, i):
        for a, top in zip(ax, (10.0**i, 1)): a.plot([0, top])
    # the axes' left spine stands in the same pixel column in every frame
    columns = set()
    for f in FramePlayer(draw, 6, subplots=dict(ncols=2)).frames:
        dark = (pixels(f).sum(-1) < 450).sum(0)
        columns.add(tuple(np.flatnonzero(dark > 250)))
    assert len(columns) == 1 and len(columns.pop()) >= 2


def test_subplots_and_colorbar():
    seen = []
    def draw(ax, i):
        seen.append(ax.shape)
        ax[0, 0].figure.colorbar(ax[0, 0].imshow(np.eye(3) + i), ax=ax[0, 0])
        ax[1, 2].set_aspect("equal")
    FramePlayer(draw, 2, subplots=dict(nrows=2, ncols=3), figsize=(8, 4))
    assert seen == [(2, 3)]*2


def test_different_numbers_of_axes():
    def draw(ax, i):
        if i: ax.twinx().plot([1, 2])
        ax.plot([0, 1])
    assert len(FramePlayer(draw, 2).frames) == 2


def test_headless_no_pyplot_no_warning():
    code = ("import warnings; warnings.simplefilter('error')\n"
            "warnings.simplefilter('ignore', DeprecationWarning)\n"  # other people's, of old versions beside new ones
            "warnings.filterwarnings('error', module='em_notes')\n"
            "from em_notes.widgets import FramePlayer, show\n"
            "FramePlayer(lambda ax, i: ax.plot([i]), 2); import sys\n"
            "assert 'matplotlib.pyplot' not in sys.modules")
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND", "WAYLAND_DISPLAY")}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_no_figure_left_open(capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    before = plt.get_fignums()
    FramePlayer(line, 2)
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    show(fig, alt="A line")
    assert plt.get_fignums() == before


def test_index(player):
    seen = []
    player.observe(lambda change: seen.append(change.new), "index")
    player.index = 3
    assert seen == [3]
    for bad in (4, -1):
        with pytest.raises(traitlets.TraitError, match=f"index is {bad}, expected 0 to 3"):
            player.index = bad
    assert player.index == 3


def test_mimebundle(player):
    data, meta = player._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == player.model_id
    still, last = pixels(base64.b64decode(data["image/png"])), pixels(player.frames[-1])
    assert still.shape == last.shape and np.abs(still - last).mean() < 0.5
    assert len(data["text/plain"]) < 100


@pytest.mark.parametrize("kwargs, message", [
    (dict(n=0), "n is 0, expected a whole number of frames from 1 to 24"),
    (dict(n=-3), "n is -3"),
    (dict(n=2.5), "n is 2.5"),
    (dict(n=25), r"n is 25, expected at most 24 .* draw\(ax, 2\*i\), 13\)"),
    (dict(n=3, labels=["a"]), "labels has 1 entries, expected 3"),
    (dict(n=3, labels="abc"), "labels is the text 'abc', expected a list of 3 texts"),
    (dict(n=3, start=3), "start is 3, expected 0 to 2"),
    (dict(n=3, start=-1), "start is -1"),
    (dict(n=3, interval=0), "interval is 0, expected a positive"),
    (dict(n=3, draw=[1]), "draw is list, expected a function"),
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FramePlayer(**{"draw": line, **kwargs})


@given(st.integers(25, 500))
def test_the_remedy_for_many_frames_is_right(n):
    with pytest.raises(ValueError) as err: FramePlayer(line, n)
    step, fewer = (int(s) for s in re.search(r"draw\(ax, (\d+)\*i\), (\d+)\)", str(err.value)).groups())
    assert fewer <= 24 and step*(fewer - 1) < n


def test_draw_that_raises_names_its_frame():
    with pytest.raises(RuntimeError, match=r"draw\(ax, 2\) raised ZeroDivisionError") as err:
        FramePlayer(lambda ax, i: ax.plot([1/(2 - i)]), 4)
    assert isinstance(err.value.__cause__, ZeroDivisionError)


def test_show_escapes_and_refuses_no_alt(capsys, monkeypatch):
    import IPython.display
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    show(lambda ax: ax.plot([1, 2]), alt='a < "b"')
    (html,) = shown
    assert 'alt="a &lt; &quot;b&quot;"' in html.data and "base64," in html.data
    with pytest.raises(ValueError, match="alt is empty"): show(lambda ax: None, alt="")


def test_style_leaves_no_trace():
    import matplotlib
    before = dict(matplotlib.rcParams)
    with pytest.raises(KeyError), style(): raise KeyError
    assert dict(matplotlib.rcParams) == before


# --- colours

def linear(color):
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c/12.92, ((c + 0.055)/1.055)**2.4)


def lab(rgb):
    xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                    [0.0193339, 0.1191920, 0.9503041]]) @ rgb/np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787*xyz + 16/116)
    return np.array([116*f[1] - 16, 500*(f[0] - f[1]), 200*(f[1] - f[2])])


# Machado, Oliveira & Fernandes (2009), severity 1: linear maps of linear RGB
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("kind", SIGHT)
def test_colors_differ_for_every_eye(kind):
    seen = [lab(np.clip(np.asarray(SIGHT[kind]) @ linear(c), 0, 1)) for c in COLORS]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(apart) > 17  # about 2 is just noticeable


def test_colors_differ_in_grey():
    grey = np.sort([lab(linear(c))[0] for c in COLORS])
    assert len(grey) == 8 and np.diff(grey).min() > 8


# --- plots

@pytest.fixture
def ax():
    return Figure().subplots()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ellipse_has_constant_mahalanobis_distance(seed):
    rng = np.random.default_rng(seed)
    mean, root = rng.normal(size=2), rng.normal(size=(2, 2)) + 2*np.eye(2)
    cov, ax = root @ root.T + 0.01*np.eye(2), Figure().subplots()
    plot_ellipse(ax, mean, cov, levels=(1, 2.5))
    for level, curve in zip((1, 2.5), ax.lines):
        away = curve.get_xydata() - mean
        assert np.allclose((away*np.linalg.solve(cov, away.T).T).sum(1), level**2, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_blend_is_linear_and_pure_at_the_corners(k, seed):
    rng = np.random.default_rng(seed)
    r, s = rng.dirichlet(np.ones(k), size=(2, 5))
    assert np.allclose(blend(0.3*r + 0.7*s), 0.3*blend(r) + 0.7*blend(s))
    assert np.allclose(blend(np.eye(k)), [to_rgb(c) for c in COLORS[:k]])


def test_blend_needs_enough_colours():
    with pytest.raises(ValueError, match="resp has 9 columns, expected at most 8; pass more colors"):
        blend(np.full((2, 9), 1/9))


def test_plot_mixture_names_the_shape_of_covs(ax):
    with pytest.raises(ValueError, match=r"covs has shape \(2, 2\), expected \(3, 2, 2\)"):
        plot_mixture(ax, np.zeros((4, 2)), np.full((4, 3), 1/3), np.zeros((3, 2)), np.eye(2))


def test_plot_bounds(ax):
    plot_bounds(ax, [-5, -3, -2.5], i=1)
    curve, mark = ax.lines
    assert curve.get_xydata().tolist() == [[0, -5], [1, -3], [2, -2.5]] and mark.get_xydata().tolist() == [[1, -3]]


def test_plot_resp_1d_serves_counts_too(ax):
    from scipy.stats import poisson
    x, grid = np.repeat(np.arange(10), 5), np.arange(10)
    dens = np.array([0.4, 0.6])*poisson.pmf(grid[:, None], [1, 7])
    plot_resp_1d(ax, x, grid, dens, bins=np.arange(11) - 0.5)
    assert np.allclose([bar.get_height() for bar in ax.patches], 0.1)
    resp = dens/dens.sum(1, keepdims=True)
    assert np.allclose([bar.get_facecolor()[:3] for bar in ax.patches], blend(resp))
    assert np.allclose(ax.lines[-1].get_ydata(), dens.sum(1))
    with pytest.raises(ValueError, match=r"dens has shape \(2, 10\), expected \(10, k\)"):
        plot_resp_1d(ax, x, grid, dens.T)


def test_javascript_fetches_nothing():
    for text in (widgets._ESM, widgets._CSS):
        assert "http" not in text and "url(" not in text and "import " not in text
