"""Gaussian families where digits are short: dependent columns, narrow and far clusters, collapsed ones; priors; names in errors."""
import copy
import pickle

import numpy as np
import pytest
from em_notes.data.datasets import iris
from em_notes.families.base import form
from em_notes.families.covariances import TYPES
from em_notes.families.gaussian import Gaussian
from em_notes.families.gaussian_forms import Expanded, GaussianStats, Whitened, moments
from em_notes.families.priors import NormalInverseWishart, weak
from em_notes.protocol import Degenerate
from scipy import stats as known

from families.random_families import GAUSSIANS, climb, random_family


def clusters(data, k, seed):
    "Hard responsibilities of some rounds of k-means."
    z, rng = (data.x - data.center) / data.scale, np.random.default_rng(seed)
    means = z[rng.choice(len(z), k, replace=False)]
    for _ in range(3):
        own = np.argmin(((z[:, None] - means) ** 2).sum(2), 1)
        means = np.stack([z[own == j].mean(0) if (own == j).any() else means[j] for j in range(k)])
    return np.eye(k)[np.argmin(((z[:, None] - means) ** 2).sum(2), 1)]


def invoices():
    rng = np.random.default_rng(0)
    net = np.round(np.exp(rng.normal(11, .8, 800)), 2)
    return np.column_stack([net, np.round(.19 * net, 2)])


@pytest.mark.parametrize("covariance", ["full", "tied"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_invoices_never_fall(k, covariance):
    "Net, and tax to the cent. The maximum for one component is known from rational arithmetic."
    x = invoices()
    start = Gaussian.start(Gaussian.read(x), clusters(Gaussian.read(x), k, 0), covariance=covariance)
    family, _, bounds, worst = climb(start, x, 60)
    assert worst < 0.1
    if k == 1: assert abs(bounds[-1] + 6537.28678) < 1e-5
    back = Gaussian(family.means, family.covs, covariance)  # the covariances are symmetric and accepted back
    np.testing.assert_array_equal(back.covs, np.swapaxes(back.covs, -1, -2))
    np.testing.assert_allclose(back.log_prob(x), family.log_prob(x), rtol=0.1)


@pytest.mark.parametrize("thick", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_crossing_and_parallel_lines_never_fall(thick, covariance):
    "Columns collinear to 1e-5, in every component or in all the data."
    rng = np.random.default_rng(1)
    t, slope = rng.standard_normal(300), np.repeat([1.0, -1.0 if covariance == "full" else 1.0], 150)
    x = np.column_stack([t, slope * t + np.repeat([0, 3 * thick], 150) + thick * rng.standard_normal(300)])
    resp = np.eye(2)[np.repeat([0, 1], 150)] * 0.8 + 0.1
    family, _, bounds, worst = climb(Gaussian.start(Gaussian.read(x), resp, covariance=covariance), x, 40)
    assert worst < 0.5 and bounds[-1] > bounds[0]
    residual = np.linalg.svd(family.root.reshape(-1, 2, 2)[0] / np.linalg.norm(family.root.reshape(-1, 2, 2)[0], axis=1, keepdims=True), compute_uv=False)[-1]
    assert 0.2 * thick < residual < 3 * thick


@pytest.mark.parametrize("apart, narrow", [(1.0, 1.0), (4.0, 1.0), (60.0, 1.0), (300.0, 1.0), (1e6, 1.0), (5.0, 1e-3), (5.0, 1e-9)])
@pytest.mark.parametrize("covariance", GAUSSIANS)
def test_a_small_cluster_far_from_the_centre_keeps_its_digits(apart, narrow, covariance):
    "readers.md: the spread alone ignores how far a component's mean lies from the centre."
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.standard_normal((3000, 2)), apart + narrow * rng.standard_normal((20, 2))])
    resp = np.eye(2)[np.repeat([0, 1], [3000, 20])]
    t = TYPES[covariance]
    g = Gaussian.start(Gaussian.read(x), resp, covariance=covariance)
    g = g.maximize(moments(g.prepare(x), resp, t))
    data = g.prepare(x)
    f = form(g, data, np.log([0.9, 0.1]))
    exact = np.stack([reference(x, m, c) for m, c in zip(g.means, g.full_covs())], 1)
    near = np.abs(exact) < 1e3
    assert np.abs(f.log_joints() - np.log([0.9, 0.1]) - exact)[near].max() < 2e-9 if narrow == 1e-9 else 1e-10
    s, two = f.em_pass()[1], moments(data, np.exp(f.log_joints() - np.logaddexp.reduce(f.log_joints(), axis=1)[:, None]), t)
    assert np.abs(s.scatter / two.scatter - 1)[~np.isclose(two.scatter, 0)].max() < (1e-9 if t.base != "full" or apart < 2 else 1e-7)


def reference(x, mean, cov):
    "log density in long double."
    root = np.linalg.cholesky(cov.astype(float))
    u, y = x.astype(np.longdouble) - mean, np.zeros(x.shape, np.longdouble)
    for i in range(x.shape[1]): y[:, i] = (u[:, i] - y[:, :i] @ root[i, :i].astype(np.longdouble)) / root[i, i]
    return np.asarray(-0.5 * (y * y).sum(1) - np.log(np.diagonal(root)).sum() - 0.5 * x.shape[1] * np.log(2 * np.pi), float)


def test_a_component_that_shrinks_in_one_step_is_summed_anew():
    "From a start as wide as all the data onto 20 rows within 1e-9: the variance is theirs, and EM goes on."
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.standard_normal((2000, 2)), 5 + 1e-9 * rng.standard_normal((20, 2))])
    for covariance in ("full", "diag", "spherical"):
        start = Gaussian.start(Gaussian.read(x), np.eye(2)[np.repeat([0, 1], [2000, 20])], covariance=covariance)
        assert isinstance(form(start, start.prepare(x)), Expanded)
        family, _, _, worst = climb(start, x, 15)
        assert worst < 0.5
        sd = np.sqrt(np.diagonal(family.full_covs()[1]))
        np.testing.assert_allclose(sd, x[2000:].std(0) if covariance != "spherical" else np.sqrt(np.mean(x[2000:].var(0))), rtol=1e-5)


@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e6])
def test_heavy_and_light_weights_never_fall(weight):
    "Weights of 1e6 with a log-likelihood near 0."
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.standard_normal(200), 4 + rng.standard_normal(200)])[:, None]
    start = Gaussian([[0.0], [4.0]], [[[1.0]], [[1.0]]])
    scale = np.exp(climb(start, x, 1)[2][0] / 400)  # in this unit the log-likelihood of the start is 0
    start = Gaussian(start.means * scale, start.covs * scale ** 2)
    _, _, bounds, worst = climb(start, x * scale, 100, weights=np.full(400, weight))
    assert abs(bounds[0]) < 1e-9 * weight and worst < 1


def test_an_m_step_off_by_a_thousandth_is_more_than_rounding():
    "What the driver must notice: at the top the bound falls by about n 1e-6 / 2 nats."
    for x, k in ((invoices(), 1), (np.random.default_rng(5).standard_normal((800, 2)) + 1e5, 1)):
        start = Gaussian.start(Gaussian.read(x), np.ones((len(x), k)))
        family, log_weights, bounds, _ = climb(start, x, 10)
        wrong = family.with_root(family.means, family.root * 1.001)
        f = form(wrong, wrong.prepare(x), log_weights)
        assert bounds[-1] - f.em_pass()[2] > 2 * (len(x) * f.rounding + 1e-9)


# --- collapse and its cure ---

@pytest.mark.parametrize("covariance", ["full", "diag", "spherical"])
@pytest.mark.parametrize("k", [2, 3])
def test_one_far_reading_among_500(k, covariance):
    "The error says where and how; the cure that it names works as written."
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(250), 6 + rng.standard_normal(250), [1000.0]])[:, None]
    own = np.repeat([0, min(1, k - 2), k - 1], [250, 250, 1]) if k == 2 else np.repeat([0, 1, 2], [250, 250, 1])
    data = Gaussian.read(x)
    start = Gaussian.start(data, np.eye(k)[own], covariance=covariance)
    with pytest.raises(Degenerate, match=rf"component {k - 1} has collapsed on rows of weight 1 \(of 501\) near x = \[1000.\].*prior='weak' in start and in em") as e:
        climb(start, x, 200)
    assert e.value.component == k - 1 and e.value.at[0] == pytest.approx(1000)
    prior = weak(Gaussian, data, k, covariance=covariance)
    family, log_weights, bounds, worst = climb(Gaussian.start(data, np.eye(k)[own], covariance=covariance, prior=prior), x, 100, prior)
    assert worst < 1
    if k == 3: np.testing.assert_allclose(family.means[:, 0], [0.02, 5.98, 1000], rtol=0.011, atol=0.01)  # kappa draws the single row by one hundredth
    np.testing.assert_allclose(np.exp(log_weights)[-1], 1 / 501, rtol=0.1)


def test_tied_says_tied_and_others_do_not():
    x = np.zeros((5, 2))
    for covariance, who in (("tied", "the tied covariance has collapsed"), ("diag", "component 0 has collapsed")):
        g = Gaussian([[0.0, 0.0]], np.eye(2) if covariance == "tied" else np.ones((1, 2)), covariance)
        with pytest.raises(Degenerate, match=who): g.maximize(g.stats(x, np.ones((5, 1))))


@pytest.mark.parametrize("make", ["constant column", "many zeros", "five points"])
@pytest.mark.parametrize("covariance", GAUSSIANS)
def test_the_weak_prior_holds_what_data_let_fall(make, covariance):
    "Constant columns, log1p of counts with exact zeros, answers on five points, more parameters than rows."
    rng = np.random.default_rng(6)
    x = {"constant column": np.column_stack([rng.standard_normal((60, 2)), np.full(60, 7.0)]),
         "many zeros": np.log1p(rng.poisson(0.3, (200, 4))), "five points": rng.integers(1, 6, (80, 3)).astype(float)}[make]
    data = Gaussian.read(x)
    prior = weak(Gaussian, data, 4, covariance=covariance)
    start = Gaussian.start(data, clusters(data, 4, 1), covariance=covariance, prior=prior)
    family, _, bounds, worst = climb(start, x, 60, prior)
    assert worst < 1 and np.isfinite(bounds).all() and family.covs.min() > -np.inf
    unit = np.array([1e-6, 1e3, 1.0, 2.0])[:x.shape[1]]
    if TYPES[covariance].base == "spherical": unit = 1e3
    other = weak(Gaussian, Gaussian.read(x * unit), 4, covariance=covariance)
    if make != "constant column":  # the unit is no matter
        again = climb(Gaussian.start(Gaussian.read(x * unit), clusters(data, 4, 1), covariance=covariance, prior=other), x * unit, 60, other)
        np.testing.assert_allclose(again[0].means, family.means * unit, rtol=1e-5)


def test_more_columns_than_rows_with_the_weak_prior():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((8, 12))
    data = Gaussian.read(x)
    for covariance in ("full", "tied"):
        prior = weak(Gaussian, data, 2, covariance=covariance)
        _, _, bounds, worst = climb(Gaussian.start(data, clusters(data, 2, 0), covariance=covariance, prior=prior), x, 20, prior)
        assert worst < 1 and np.isfinite(bounds).all()


# --- priors by name ---

@pytest.mark.parametrize("prior, message", [
    (NormalInverseWishart(0, 1, np.ones((2, 3)), 5), "scatter of NormalInverseWishart"), (NormalInverseWishart(0, 1, np.ones(3), 5), "scatter of NormalInverseWishart"),
    (NormalInverseWishart(0, 1, 1.0, 0.5), "df of NormalInverseWishart must be greater than d - 1 = 1"), (NormalInverseWishart([0, 0, 0], 1, 1.0, 5), "mean of NormalInverseWishart"),
    (NormalInverseWishart(0, 1, [[1, 2], [2, 1]], 5), "scatter of NormalInverseWishart must be positive definite"), (NormalInverseWishart(0, 1, [[1, 0.5], [0, 1]], 5), None)])
def test_prior_arguments_are_named(prior, message):
    "A prior's own arguments are named."
    g = Gaussian(np.zeros((1, 2)), np.eye(2)[None])
    s = g.stats(np.random.default_rng(0).standard_normal((20, 2)), np.ones((20, 1)))
    for call in (lambda: g.maximize(s, prior), lambda: g.log_prior(prior)):
        if message is None: message = "scatter of NormalInverseWishart must be symmetric"
        with pytest.raises(ValueError, match=message): call()


@pytest.mark.parametrize("covariance", GAUSSIANS)
def test_scatter_as_a_number_or_a_vector(covariance):
    g = random_family(covariance, 2, np.random.default_rng(8))
    s = g.stats(np.random.default_rng(9).standard_normal((30, 3)), np.full((30, 2), 0.5))
    number = g.maximize(s, NormalInverseWishart(0, 0.5, 1.5, 6))
    if TYPES[covariance].base != "spherical":
        np.testing.assert_allclose(g.maximize(s, NormalInverseWishart([0, 0, 0], 0.5, [1.5] * 3, 6)).covs, number.covs)
    if TYPES[covariance].full: np.testing.assert_allclose(g.maximize(s, NormalInverseWishart(0, 0.5, 1.5 * np.eye(3), 6)).covs, number.covs)


def test_a_prior_on_covariances_alone_leaves_the_means():
    "Kappa = 0 was refused."
    g = random_family("full", 2, np.random.default_rng(8))
    s = g.stats(np.random.default_rng(9).standard_normal((30, 3)), np.full((30, 2), 0.5))
    free, held = g.maximize(s), g.maximize(s, NormalInverseWishart(None, 0, 1.0, 5))
    np.testing.assert_allclose(held.means, free.means)
    np.testing.assert_allclose(held.covs, (s.scatter + np.eye(3)) / (s.weight + 5 + 3 + 1)[:, None, None])


# --- the rest ---

def test_a_copy_knows_its_own_factor():
    "Pickle and deepcopy dropped the read-only flag, and a changed array left the cached factor stale."
    g = Gaussian([[0.0, 0.0]], [np.eye(2)])
    g.log_prob([[1.0, 1.0]])
    for again in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        with pytest.raises(ValueError, match="read-only"): again.covs[0, 0, 0] = 4.0
        assert "whitener" not in again.__dict__


def test_statistics_are_those_of_the_sum_whichever_form_found_them():
    rng = np.random.default_rng(10)
    t = rng.standard_normal(200)
    x = np.column_stack([t, t + 1e-6 * rng.standard_normal(200), rng.standard_normal(200)])
    g = Gaussian.start(Gaussian.read(x), np.ones((200, 1)))
    assert isinstance(form(g, g.prepare(x)), Whitened)
    one = np.zeros(1)
    parts = [form(g, g.prepare(x[at]), one).em_pass()[1] for at in (slice(0, 90), slice(90, None))]
    both, whole = parts[0] + parts[1], form(g, g.prepare(x), one).em_pass()[1]
    np.testing.assert_allclose(both.half, whole.half, rtol=1e-8)
    np.testing.assert_allclose(both.half, whole.half[:, [0, 1, 2]], rtol=1e-8)
    running = 0.9 * whole + 0.1 * both  # a stepwise update
    np.testing.assert_allclose(running.half, whole.half, rtol=1e-8)
    assert isinstance(running, GaussianStats) and ((-1.0) * whole).half is None


def test_marginals_and_conditionals_of_iris():
    x = iris()[0]
    g = Gaussian.start(Gaussian.read(x), np.eye(3)[np.repeat([0, 1, 2], 50)])
    np.testing.assert_allclose(g.marginal([3, 1]).covs, g.covs[:, [3, 1]][:, :, [3, 1]])
    rest, log_prob = g.conditional([2], [4.0])
    for j in range(3):
        c, keep = g.covs[j], [0, 1, 3]
        b = c[keep, 2] / c[2, 2]
        np.testing.assert_allclose(rest.means[j], g.means[j][keep] + b * (4.0 - g.means[j][2]))
        np.testing.assert_allclose(rest.covs[j], c[np.ix_(keep, keep)] - np.outer(b, c[2, keep]))
        assert np.isclose(log_prob[j], known.norm(g.means[j][2], np.sqrt(c[2, 2])).logpdf(4.0))
    for wrong in ([0, 0], [4], [-1], ["a"], [], 1.5):
        with pytest.raises(ValueError, match="columns must be different whole numbers from 0 to 3"): g.marginal(wrong)
    with pytest.raises(ValueError, match=r"values must have shape \(1,\)"): g.conditional([0], [1.0, 2.0])
    with pytest.raises(ValueError, match="must leave a column over"): g.conditional([0, 1, 2, 3], np.zeros(4))


@pytest.mark.parametrize("covariance, free", [("full", 3 * 4 + 3 * 10), ("tied", 12 + 10), ("diag", 24), ("tied_diag", 16), ("spherical", 15), ("tied_spherical", 13)])
def test_free_parameters(covariance, free):
    assert random_family(covariance, 3, np.random.default_rng(0), 4).n_parameters == free


def test_offsets_and_units():
    "Held up well, keep it so: units from 1e-150 to 1e140, offsets up to 1e12 standard deviations."
    rng = np.random.default_rng(11)
    x = np.concatenate([rng.standard_normal((60, 2)), 5 + rng.standard_normal((60, 2))])
    resp = np.eye(2)[np.repeat([0, 1], 60)]
    for covariance in GAUSSIANS:
        base = climb(Gaussian.start(Gaussian.read(x), resp, covariance=covariance), x, 15)
        for unit in (1e-140, 1e-9, 1e9, 1e140):
            own = climb(Gaussian.start(Gaussian.read(x * unit), resp, covariance=covariance), x * unit, 15)
            assert own[3] < 1
            np.testing.assert_allclose(own[0].means / unit, base[0].means, rtol=1e-8)
        for offset in (1e6, 1e12):
            own = climb(Gaussian.start(Gaussian.read(x + offset), resp, covariance=covariance), x + offset, 15)
            assert own[3] < 1
            np.testing.assert_allclose(own[2], base[2], rtol=10 * offset * 2e-16 + 1e-9)


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_rare_patterns_are_as_right_as_common_ones(covariance):
    "Every row with its own pattern, and a few patterns of many rows, give what one row at a time gives."
    rng = np.random.default_rng(12)
    g = random_family(covariance, 3, rng, 9)
    x, lw = g.sample(rng.integers(3, size=400), rng), np.log([0.2, 0.3, 0.5])
    x[rng.uniform(size=x.shape) < 0.5] = np.nan
    x[100:300, 2] = np.nan
    x[100:300, 5] = 0.3
    data = g.prepare(x, rng.uniform(size=400), missing="nan")
    assert len(data.patterns.masks) > 100
    f, slow = form(g, data, lw), Whitened(data, g, lw, 0.0)
    np.testing.assert_allclose(f.log_joints(), slow.log_joints(), rtol=1e-10, atol=1e-10)
    (c, s, b), (c2, s2, b2) = f.em_pass(), slow.em_pass()
    assert np.isclose(b, b2)
    np.testing.assert_allclose(c, c2)
    np.testing.assert_allclose(s.scatter, s2.scatter, rtol=1e-9, atol=1e-9)
    resp = rng.dirichlet(np.ones(3), 400)
    np.testing.assert_allclose(f.moments(resp).scatter, slow.moments(resp).scatter, rtol=1e-9, atol=1e-9)


def test_dependent_columns_with_gaps_never_fall():
    x = invoices()
    x[np.random.default_rng(13).uniform(size=x.shape) < 0.1] = np.nan
    for k in (1, 2):
        data = Gaussian.read(x, missing="nan")
        start = Gaussian.start(data, clusters(data, k, 0))
        _, _, bounds, worst = climb(start, x, 40, missing="nan")
        assert worst < 1 and bounds[-1] > bounds[0]
