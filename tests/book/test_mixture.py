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
