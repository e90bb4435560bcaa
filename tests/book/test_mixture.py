"The functions of the chapter on mixtures against enumeration, scipy, differences and published values."
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import multivariate_normal

from em_notes.book import mixture


def model(k, d, seed, n=40):
    rng = np.random.default_rng(seed)
    roots = np.eye(d) + 0.2 * np.tril(rng.normal(size=(k, d, d)), -1)
    means = 2 * rng.normal(size=(k, d))
    x = means[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    return x, (rng.dirichlet(np.ones(k)), means, roots @ roots.swapaxes(1, 2)), rng


@settings(max_examples=25, deadline=None)
@given(k=st.integers(1, 3), d=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_everything_equals_enumeration(k, d, seed):
    x, theta, _ = model(k, d, seed, n=5)
    density = np.array([[w * multivariate_normal.pdf(row, m, c) for w, m, c in zip(*theta)] for row in x])
    joint = mixture.log_joint(x, *theta)
    assert np.allclose(joint, np.log(density), rtol=1e-9)
    labels = np.array(list(product(range(k), repeat=5)))
    p = density[np.arange(5), labels].prod(1)
    resp, log_norm = mixture.responsibilities(joint)
    assert np.isclose(mixture.log_likelihood(joint), np.log(p.sum()), rtol=1e-10) and np.isclose(log_norm.sum(), np.log(p.sum()), rtol=1e-10)
    hot = np.eye(k)[labels]
    assert np.allclose(resp, np.tensordot(p / p.sum(), hot, 1), atol=1e-10)
    assert np.allclose([mixture.complete_log_likelihood(joint, z) for z in hot], np.log(p), rtol=1e-9)


def test_far_and_impossible_rows():
    joint = np.array([[-1e6, -1e6 - np.log(3)], [-np.inf, 2.0], [-np.inf, -np.inf]])
    resp, log_norm = mixture.responsibilities(joint)
    assert np.allclose(resp, [[0.75, 0.25], [0, 1], [0, 0]], rtol=1e-9) and log_norm[1:].tolist() == [2, -np.inf]
    assert mixture.complete_log_likelihood(joint[:2], resp[:2]) > -np.inf
    assert mixture.complete_log_likelihood(joint, np.array([[1, 0], [1, 0], [1.0, 0]])) == -np.inf
    x, (_, *components), _ = model(2, 2, 0)
    assert (mixture.log_joint(x, np.array([0.0, 1]), *components)[:, 0] == -np.inf).all()


SHAPES = {
    "full": None,
    "tied": lambda resp, covs: np.array([mixture.tied_cov(resp, covs)] * len(covs)),
    "diag": lambda resp, covs: covs * np.eye(covs.shape[-1]),
    "spherical": lambda resp, covs: np.trace(covs, axis1=1, axis2=2)[:, None, None] * np.eye(covs.shape[-1]) / covs.shape[-1],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [mixture.gmm_step, mixture.hard_step])
def test_steps_climb(step, shape):
    x, theta, rng = model(3, 2, 11, n=400)
    theta = np.full(3, 1 / 3), theta[1] + 0.3 * rng.normal(size=(3, 2)), np.array([np.eye(2)] * 3)
    bounds = []
    for _ in range(25):
        *theta, bound = step(x, *theta, SHAPES[shape])
        bounds.append(bound)
    assert np.all(np.diff(bounds) > -1e-9) and bounds[-1] > bounds[0] + 1
    joint = mixture.log_joint(x, *theta)
    assert bounds[-1] <= (mixture.log_likelihood(joint) if step is mixture.gmm_step else joint.max(1).sum()) + 1e-9


@pytest.mark.parametrize("shape", SHAPES)
def test_the_m_step_is_the_best(shape):
    "No scaled, moved or re-weighted parameters of the same shape do better on (6.4)."
    x, theta, rng = model(2, 3, 5)
    resp, _ = mixture.responsibilities(mixture.log_joint(x, *theta))
    w, m, c, _ = mixture.gmm_step(x, *theta, SHAPES[shape])
    value = lambda *new: mixture.complete_log_likelihood(mixture.log_joint(x, *new), resp)
    best = value(w, m, c)
    for scale in (0.97, 1.03): assert value(w, m, scale * c) < best
    for _ in range(20):
        assert value(w, m + 0.05 * rng.normal(size=m.shape), c) < best
        moved = w * np.exp(0.1 * rng.normal(size=2))
        assert value(moved / moved.sum(), m, c) < best


def test_moments():
    x, theta, rng = model(3, 2, 1)
    resp = rng.dirichlet(np.ones(3), len(x))
    means = mixture.new_means(x, resp)
    covs = mixture.new_covs(x, resp, means)
    assert np.allclose(covs, [np.cov(x.T, aweights=r, ddof=0) for r in resp.T])
    assert np.allclose(means, [np.average(x, 0, r) for r in resp.T]) and np.allclose(mixture.new_weights(resp), resp.mean(0))
    assert np.allclose(mixture.tied_cov(resp, covs), sum(r.sum() * c for r, c in zip(resp.T, covs)) / len(x))


def test_any_family_and_weights_as_copies():
    x, theta, rng = model(2, 2, 3)
    log_prob = lambda x, c: mixture.log_joint(x, np.ones(2), *c)
    def m_step(x, resp):
        means = mixture.new_means(x, resp)
        return means, mixture.new_covs(x, resp, means)
    w, c, log_p = mixture.mixture_step(x, theta[0], theta[1:], log_prob, m_step)
    for a, b in zip((w, *c, log_p), mixture.gmm_step(x, *theta)): assert np.allclose(a, b, rtol=1e-12)
    times = rng.integers(0, 3, len(x))
    a = mixture.mixture_step(x, theta[0], theta[1:], log_prob, m_step, times)
    b = mixture.mixture_step(np.repeat(x, times, axis=0), theta[0], theta[1:], log_prob, m_step)
    for u, v in zip((a[0], *a[1], a[2]), (b[0], *b[1], b[2])): assert np.allclose(u, v, rtol=1e-10)
    # rows that don't count may even be impossible
    impossible = lambda x, c: np.where(times[:, None] == 0, -np.inf, log_prob(x, c))
    assert np.isclose(mixture.mixture_step(x, theta[0], theta[1:], impossible, m_step, times)[2], b[2], rtol=1e-12)


def test_seeds_are_spread():
    grid = np.array(list(product(range(5), range(5)))) * 10.0
    x = np.repeat(grid, 40, axis=0) + np.random.default_rng(0).normal(size=(1000, 2)) * 0.1
    found = [len(set(mixture.kmeans_plus_plus(x, 25, seed) // 40)) for seed in range(20)]
    assert min(found) >= 24 and np.mean(found) > 24.5 # a seed at nearly every one of 25 sites
    times = np.r_[np.zeros(500), np.ones(500)]
    assert mixture.kmeans_plus_plus(x, 10, 0, times).min() >= 500 # what does not count is no seed
    assert len(mixture.kmeans_plus_plus(np.ones((4, 1)), 3, 0)) == 3 # fewer distinct rows than seeds
    assert np.array_equal(mixture.kmeans_plus_plus(x, 5, 3), mixture.kmeans_plus_plus(x, 5, 3))


def test_k_means_is_hard_em_with_one_round_width():
    x, (_, means, _), _ = model(3, 2, 7, n=200)
    shape = lambda z, covs: np.array([np.eye(2) * np.trace(mixture.tied_cov(z, covs)) / 2] * 3)
    hard = means, np.array([np.eye(2)] * 3)
    for t in range(1, 8):
        _, *hard, _ = mixture.hard_step(x, np.full(3, 1 / 3), *hard, shape)
        assert np.allclose(hard[0], mixture.k_means(x, means, t), rtol=1e-12)


def test_parameters_and_bic():
    "mclust, iris, VVV with two components: BIC -574.018 by its sign, log-likelihood -214.3547."
    assert mixture.n_parameters(2, 4) == 29
    assert abs(mixture.bic(-214.354726, 29, 150) - 574.0178) < 1e-3
    counted = {c: mixture.n_parameters(3, 4, c) - 14 for c in ("full", "tied", "diag", "tied_diag", "spherical", "tied_spherical")}
    assert counted == {"full": 30, "tied": 10, "diag": 12, "tied_diag": 4, "spherical": 3, "tied_spherical": 1}


@pytest.mark.parametrize("k, d", [(1, 2), (2, 3), (3, 2)])
def test_missing_entries_against_marginals_and_slopes(k, d):
    "The likelihood is scipy's, of what is seen; a step climbs; at its end the slope in every direction is zero."
    x, (w, means, covs), rng = model(k, d, 4, n=120)
    x[rng.random(x.shape) < 0.25] = np.nan
    x[0] = np.nan
    def seen(w, means, covs):
        total = 0.0
        for row in x[1:]:
            a = np.flatnonzero(~np.isnan(row))
            if len(a): total += np.log(sum(p * multivariate_normal.pdf(row[a], m[a], c[np.ix_(a, a)]) for p, m, c in zip(w, means, covs)))
        return total
    theta, bounds = (w, means, covs), []
    assert np.isclose(mixture.missing_step(x, *theta)[3], seen(*theta), rtol=1e-9)
    for _ in range(2000):
        *theta, value = mixture.missing_step(x, *theta)
        bounds.append(value)
        if len(bounds) > 1 and bounds[-1] - bounds[-2] < 1e-11: break
    assert np.diff(bounds).min() > -1e-9 and bounds[-1] > bounds[0] + 0.5
    w, means, covs = theta
    for _ in range(5):
        u, a = rng.normal(size=means.shape), rng.normal(size=covs.shape)
        move = lambda h: seen(w, means + h * u, covs + h * (a + a.swapaxes(1, 2)))
        assert abs(move(1e-5) - move(-1e-5)) / 2e-5 < 0.05


def test_nothing_missing_is_the_ordinary_step_and_wrong_terms_show():
    x, theta, rng = model(2, 3, 8)
    for a, b in zip(mixture.missing_step(x, *theta), mixture.gmm_step(x, *theta)): assert np.allclose(a, b, rtol=1e-10)
    # without the conditional covariances a component that sees one feature alone would be flat
    half = x.copy(); half[:, 1] = np.nan
    assert np.linalg.eigvalsh(mixture.missing_step(half, *theta)[2]).min() > 0.05


def test_murray():
    "Twelve pairs, eight of them halves: maxima at correlation one half, variance 8/3; a saddle at 0, variance 5/2."
    from em_notes.data.datasets import murray
    for rho, end, variance in ((0.1, 0.5, 8 / 3), (-0.1, -0.5, 8 / 3), (0.0, 0.0, 2.5)):
        theta = np.ones(1), np.zeros((1, 2)), np.array([[[1, rho], [rho, 1]]])
        for _ in range(160): *theta, _ = mixture.missing_step(murray(), *theta)
        cov = theta[2][0]
        assert np.isclose(cov[0, 0], variance, rtol=1e-4) and np.isclose(cov[0, 1] / cov[0, 0], end, atol=1e-4)


def test_hessian():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 4)); a = a + a.T
    f = lambda v: v @ a @ v / 2 + np.sin(v[0] * v[1]) + v.sum()
    v = rng.normal(size=4)
    s, c, (p, q) = np.sin(v[0] * v[1]), np.cos(v[0] * v[1]), v[:2]
    extra = np.zeros((4, 4))
    extra[:2, :2] = [[-q * q * s, c - p * q * s], [c - p * q * s, -p * p * s]]
    assert np.allclose(mixture.hessian(f, v), a + extra, atol=1e-5)


def test_samples_have_the_moments():
    _, (w, means, covs), _ = model(3, 2, 6)
    x, z = mixture.sample_mixture(40_000, w, means, covs, np.random.default_rng(0))
    assert np.allclose(np.bincount(z, minlength=3) / len(z), w, atol=0.01)
    for j in range(3):
        assert np.allclose(x[z == j].mean(0), means[j], atol=0.1) and np.allclose(np.cov(x[z == j].T), covs[j], atol=0.15)
    again, _ = mixture.sample_mixture(5, w, means, covs, np.random.default_rng(3))
    assert np.array_equal(again, mixture.sample_mixture(5, w, means, covs, np.random.default_rng(3))[0])


def climb(step, theta, tol=1e-9):
    "The parameters of the last bound, and all bounds."
    *new, value = step(*theta)
    bounds = [value]
    while len(bounds) < 2 or bounds[-1] - bounds[-2] > tol:
        theta, (*new, value) = new, step(*new)
        bounds.append(value)
    return theta, bounds


def test_published_mixtures():
    "mixtools (Journal of Statistical Software 32); Zucchini and MacDonald, table 1.2; poLCA; mclust EEE of Old Faithful; R's kmeans."
    from scipy.stats import poisson
    from em_notes.data.datasets import earthquakes, faithful, iris
    x = faithful()
    begin = np.full(2, 0.5), np.array([[55.0], [80.0]]), np.array([[[25.0]]] * 2)
    (w, means, covs), bounds = climb(lambda *t: mixture.gmm_step(x[:, 1:], *t, SHAPES["tied"]), begin, 1e-8)
    assert w.round(5).tolist() == [0.36085, 0.63915] and means.ravel().round(5).tolist() == [54.61364, 80.09031]
    assert np.sqrt(covs[0]).round(5) == 5.86909 and round(bounds[-1], 3) == -1034.002
    counts = earthquakes()
    for k, printed in zip((1, 2, 3, 4), (391.9189, 360.3690, 356.8489, 356.7337)):
        begin = np.full(k, 1 / k), np.quantile(counts, (np.arange(k) + 0.5) / k)
        step = lambda *t: mixture.mixture_step(counts, *t, lambda x, r: poisson.logpmf(x[:, None], r), lambda x, r: r.T @ x / r.sum(0))
        assert round(-climb(step, begin)[1][-1], 4) == printed
    answers = np.array(list(product([1.0, 0.0], repeat=4)))
    people = np.array([42, 23, 6, 25, 6, 24, 7, 38, 1, 4, 1, 6, 2, 9, 2, 20])
    log_bernoulli = lambda x, p: x @ np.log(p).T + (1 - x) @ np.log(1 - p).T
    for k, printed in ((1, -543.6498), (2, -504.4677)):
        begin = np.full(k, 1 / k), np.linspace(0.3, 0.7, k)[:, None] * np.ones(4)
        assert round(climb(lambda *t: mixture.mixture_step(answers, *t, log_bernoulli, mixture.new_means, people), begin)[1][-1], 4) == printed
    flowers, _ = iris()
    for shape, value in (("tied", -256.354043126), ("spherical", -384.314095061)):
        ends = []
        for seed in range(8):
            seeds = flowers[mixture.kmeans_plus_plus(flowers / flowers.std(0), 3, seed)]
            begin = np.full(3, 1 / 3), seeds, np.array([np.diag(flowers.var(0))] * 3)
            ends.append(climb(lambda *t: mixture.gmm_step(flowers, *t, SHAPES[shape]), begin)[1][-1])
        assert abs(max(ends) - value) < 1e-5


def test_a_local_maximum_of_the_irises_is_one():
    "mclust's and scikit-learn's value for diagonal covariances: level, and bent down in all 26 directions."
    from em_notes.data.datasets import iris
    flowers, _ = iris()
    scale = flowers.std(0)
    def free(v):
        logits, means, widths = np.r_[v[:2], 0], v[2:14].reshape(3, 4), v[14:].reshape(3, 4)
        w = np.exp(logits) / np.exp(logits).sum()
        return mixture.log_likelihood(mixture.log_joint(flowers, w, means * scale, np.array([np.diag(np.exp(2 * r)) for r in widths])))
    for seed in range(16):
        means = flowers[np.random.default_rng(seed).choice(150, 3, replace=False)]
        begin = np.full(3, 1 / 3), means, np.array([np.diag(flowers.var(0))] * 3)
        (w, means, covs), bounds = climb(lambda *t: mixture.gmm_step(flowers, *t, SHAPES["diag"]), begin)
        if abs(bounds[-1] - -307.177571598) < 1e-5: break
    else: raise AssertionError("no start reached the published value")
    v = np.r_[np.log(w[:2] / w[2]), (means / scale).ravel(), np.log(np.diagonal(covs, axis1=1, axis2=2)).ravel() / 2]
    assert np.linalg.eigvalsh(mixture.hessian(free, v))[-1] < -1
