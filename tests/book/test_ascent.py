"The functions of the chapter on EM against enumeration, published values and slopes."
from itertools import product

import numpy as np
from hypothesis import given, settings, strategies as st
from scipy.optimize import approx_fprime, minimize_scalar
from scipy.special import expit, logsumexp
from scipy.stats import binom, multivariate_normal, norm

from em_notes.book import ascent
from em_notes.data.datasets import iris

x = np.array([125, 18, 20, 34])
inside = st.floats(0.02, 0.98)


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 3), n=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_normal_means_equal_enumeration(k, n, seed):
    rng = np.random.default_rng(seed)
    points, means, sd = rng.normal(size=n) * 2, rng.normal(size=k) * 2, rng.uniform(0.5, 2)
    new, log_p = ascent.normal_means_step(points, means, sd)
    kinds = np.array(list(product(range(k), repeat=n)))
    joint = norm.logpdf(points, means[kinds], sd).sum(1) - n * np.log(k)
    q = np.exp(joint - logsumexp(joint))
    assert abs(log_p - logsumexp(joint)) < 1e-9 * (1 + abs(log_p))
    one_hot = np.eye(k)[kinds]
    expected = np.einsum("a,ank->k", q, one_hot)
    assert np.allclose(new, np.einsum("a,ank,n->k", q, one_hot, points) / expected, rtol=1e-8, atol=1e-10)
    # Fisher's identity: the slope of the log-likelihood is that of the expected log-joint
    slopes = approx_fprime(means, lambda m: ascent.normal_means_step(points, m, sd)[1], 1e-7)
    assert np.allclose(slopes, expected * (new - means) / sd**2, rtol=1e-4, atol=1e-4)
    assert ascent.normal_means_step(points, new, sd)[1] > log_p - 1e-10


def test_petals_have_two_unequal_peaks():
    petals = iris()[0][:, 2]
    ends = []
    for start in ([1.5, 4.3, 5.6], [1.4, 1.6, 5.0]):
        means = ascent.climb(lambda m: ascent.normal_means_step(petals, m, 0.426)[0], np.array(start), 300)[-1]
        ends.append(ascent.normal_means_step(petals, means, 0.426)[1])
        for e in 0.05 * np.vstack([np.eye(3), -np.eye(3)]):
            assert ascent.normal_means_step(petals, means + e, 0.426)[1] < ends[-1]
    assert ends[0] > ends[1] + 90


@settings(max_examples=40, deadline=None)
@given(u=inside, theta=inside)
def test_linkage_bound_is_the_likelihood_less_a_divergence(u, theta):
    share = ascent.hidden_share(theta)
    kl = u * np.log(u / share) + (1 - u) * np.log((1 - u) / (1 - share))
    log_p = ascent.linkage_log_likelihood(x, theta)
    assert abs(log_p - ascent.linkage_free_energy(x, u, theta) - 125 * kl) < 1e-12 * (abs(log_p) + 125 * kl)
    best = minimize_scalar(lambda t: -ascent.linkage_free_energy(x, u, expit(t)), bracket=(-1, 1))
    assert abs(expit(best.x) - ascent.best_theta(x, u)) < 1e-6


@settings(max_examples=40, deadline=None)
@given(theta=inside)
def test_information_is_curvature_and_variance(theta):
    complete, missing = ascent.linkage_information(x, theta)
    u, h = ascent.hidden_share(theta), 1e-4 * theta * (1 - theta)
    second = lambda f: (f(theta + h) - 2 * f(theta) + f(theta - h)) / h**2
    assert np.isclose(complete - missing, -second(lambda t: ascent.linkage_log_likelihood(x, t)), rtol=1e-3)
    assert np.isclose(complete, -second(lambda t: ascent.linkage_free_energy(x, u, t)), rtol=1e-3)
    # the variance of the score under the posterior, all 126 hidden counts enumerated
    counts = np.arange(126); score = (counts + 34) / theta - 38 / (1 - theta); q = binom.pmf(counts, 125, u)
    assert np.isclose(missing, q @ score**2 - (q @ score)**2, rtol=1e-7)
    # Fisher's identity: its mean is the slope of the log-likelihood
    slope = 125 / (2 + theta) - 38 / (1 - theta) + 34 / theta
    assert abs(q @ score - slope) < 1e-9 * (1 + 72 / theta + 38 / (1 - theta))


def test_published_information():
    "Louis 1982: 435.3 - 57.8 = 377.5."
    complete, missing = ascent.linkage_information(x, (15 + np.sqrt(53809)) / 394)
    assert round(complete, 1) == 435.3 and round(missing, 1) == 57.8 and round(complete - missing, 1) == 377.5
    assert abs((complete - missing)**-0.5 - 0.05146734920088869) < 1e-12


def test_published_linkage():
    assert abs(ascent.hidden_share(0.3) - 0.075 / 0.575) < 1e-15
    path = ascent.climb(lambda theta: ascent.best_theta(x, ascent.hidden_share(theta)), 0.5, 8)
    published = [0.5, 0.608247423, 0.624321051, 0.626488879, 0.626777323, 0.626815632, 0.626820719, 0.626821395, 0.626821484]
    assert np.allclose(path, published, rtol=0, atol=1e-9)
    wanted = 125 * np.log(0.625) + 38 * np.log(0.125) + 34 * np.log(0.125)
    assert abs(ascent.linkage_log_likelihood(x, 0.5) - wanted) < 1e-12 * abs(wanted)


@settings(max_examples=40, deadline=None)
@given(a=st.floats(0.3, 3), b=st.floats(0.3, 3), rho=st.floats(-0.95, 0.95), seed=st.integers(0, 10**6))
def test_missing_halves(a, b, rho, seed):
    cov = np.array([[a, rho * np.sqrt(a * b)], [rho * np.sqrt(a * b), b]])
    rows = np.random.default_rng(seed).normal(size=(4, 2))
    holes = rows.copy(); holes[1, 0] = holes[2, 1] = np.nan
    products, log_p = ascent.missing_products(holes, cov)
    wanted = np.outer(rows[0], rows[0]) + np.outer(rows[3], rows[3])
    for i, seen, gone in ((1, 1, 0), (2, 0, 1)): # E[b | a] and var(b | a)
        v = rows[i, seen]
        mean, var = cov[0, 1] / cov[seen, seen] * v, cov[gone, gone] - cov[0, 1]**2 / cov[seen, seen]
        own = np.empty((2, 2))
        own[seen, seen], own[gone, gone], own[0, 1], own[1, 0] = v * v, mean**2 + var, v * mean, v * mean
        wanted = wanted + own
    assert np.allclose(products, wanted, rtol=1e-9, atol=1e-11)
    total = multivariate_normal.logpdf(rows[[0, 3]], [0, 0], cov).sum()
    total += multivariate_normal.logpdf(rows[1, 1], 0, b) + multivariate_normal.logpdf(rows[2, 0], 0, a)
    assert abs(log_p - total) < 1e-9 * (1 + abs(total))


def test_murrays_saddle_and_maximum():
    nan = np.nan
    y = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1], [2, nan], [2, nan], [-2, nan], [-2, nan], [nan, 2], [nan, 2], [nan, -2], [nan, -2]])
    step = lambda cov: ascent.missing_products(y, cov)[0] / 12
    for rho, wanted in ((0.0, [[2.5, 0], [0, 2.5]]), (0.1, [[8/3, 4/3], [4/3, 8/3]])):
        assert np.allclose(ascent.climb(step, np.array([[1, rho], [rho, 1]]), 300)[-1], wanted, atol=1e-9)


def test_a_partial_e_step_may_lower_the_likelihood():
    "F rises and the likelihood falls; with the posterior in the E-step neither falls."
    top = (15 + np.sqrt(53809)) / 394
    new = ascent.best_theta(x, 0.5)
    assert ascent.linkage_free_energy(x, 0.5, new) > ascent.linkage_free_energy(x, 0.5, top)
    assert ascent.linkage_log_likelihood(x, new) < ascent.linkage_log_likelihood(x, top) - 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_incremental_steps_never_lower_the_bound(seed):
    "One animal's q renewed, then an M-step: F over all animals rises, and the end is the likelihood's top."
    rng = np.random.default_rng(seed)
    shares, theta, bound = rng.uniform(0.05, 0.95, 125), rng.uniform(0.05, 0.95), []
    for i in np.tile(rng.permutation(125), 12):
        shares[i] = ascent.hidden_share(theta)
        theta = ascent.best_theta(x, shares.mean())
        bound.append(ascent.linkage_free_energy(x, shares, theta).mean())
    assert (np.diff(bound) > -1e-9).all() and abs(theta - (15 + np.sqrt(53809)) / 394) < 1e-4


@settings(max_examples=40, deadline=None)
@given(v=st.floats(0.5, 3), rho=st.floats(-0.9, 0.9), s=st.floats(0.5, 3), c=st.floats(-0.45, 0.45))
def test_the_average_product_maximises_with_equal_variances(v, rho, s, c):
    "The M-step for pairs, in the variance and the correlation."
    def mean_q(v, rho): return -np.log(v) - 0.5 * np.log(1 - rho**2) - (s - rho * c) / (v * (1 - rho**2))
    assert mean_q(v, rho) <= mean_q(s, c / s) + 1e-12
    slopes = approx_fprime([s, c / s], lambda t: mean_q(*t), 1e-7)
    assert np.allclose(slopes, 0, atol=1e-4)
