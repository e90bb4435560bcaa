"The functions of the chapter on EM against enumeration, published values and slopes."
from itertools import product

import numpy as np
from hypothesis import given, settings, strategies as st
from scipy.optimize import approx_fprime, minimize_scalar
from scipy.special import expit, logsumexp
from scipy.stats import binom, multivariate_normal

from em_notes.book import ascent

x = np.array([125, 18, 20, 34])
inside = st.floats(0.02, 0.98)


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 3), n=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_coins_equal_enumeration(k, n, seed):
    rng = np.random.default_rng(seed)
    tosses, theta = rng.integers(0, 9, (n, 2)).astype(float), rng.uniform(0.05, 0.95, k)
    table = ascent.coins_log_joint(tosses, theta)
    assert table.shape == (n, k)
    paths = np.array(list(product(range(k), repeat=n)))
    joint = np.array([table[np.arange(n), z].sum() for z in paths])
    faces, log_p = ascent.coins_e_step(tosses, theta)
    assert abs(log_p - logsumexp(joint)) < 1e-11
    assert np.allclose(faces, np.tensordot(np.exp(joint - log_p), [tosses.T @ np.eye(k)[z] for z in paths], 1), rtol=1e-10)
    with np.errstate(invalid="ignore"): # a coin without rows has no estimate
        assert ascent.coins_hard_step(tosses, theta)[1] == table.max(1).sum()
    # Fisher's identity: the slope of the log-likelihood is that of the expected log-joint
    slopes = approx_fprime(theta, lambda t: ascent.coins_e_step(tosses, t)[1], 1e-7)
    assert np.allclose(slopes, faces[0] / theta - faces[1] / (1 - theta), rtol=1e-4, atol=1e-4)


def test_coins_joint_is_binomial_without_its_coefficient():
    tosses, theta = np.array([[5.0, 5.0], [9, 1]]), np.array([0.6, 0.5])
    wanted = binom.logpmf(tosses[:, :1], 10, theta) - np.log([[252], [10]]) - np.log(2)
    assert np.allclose(ascent.coins_log_joint(tosses, theta), wanted, rtol=1e-12)


def test_published_coins():
    tosses = np.array([[h, 10 - h] for h in (5, 9, 8, 4, 7)], dtype=float)
    step = lambda theta: ascent.coins_m_step(ascent.coins_e_step(tosses, theta)[0])
    path = ascent.climb(step, np.array([0.6, 0.5]), 10)
    assert len(path) == 11 and ascent.coins_e_step(tosses, path[0])[0].T.ravel().round(1).tolist() == [21.3, 8.6, 11.7, 8.4]
    assert path[1].round(2).tolist() == [0.71, 0.58] and path[10].round(2).tolist() == [0.80, 0.52]
    assert (np.diff([ascent.coins_e_step(tosses, theta)[1] for theta in path]) > 0).all()
    assert np.allclose(ascent.coins_hard_step(tosses, path[0])[0], [0.80, 0.45])


@settings(max_examples=40, deadline=None)
@given(p=inside, theta=inside)
def test_linkage_bound_is_the_likelihood_less_a_divergence(p, theta):
    share = ascent.hidden_share(theta)
    kl = p * np.log(p / share) + (1 - p) * np.log((1 - p) / (1 - share))
    log_p = ascent.linkage_log_likelihood(x, theta)
    assert abs(log_p - ascent.linkage_free_energy(x, p, theta) - 125 * kl) < 1e-12 * (abs(log_p) + 125 * kl)
    best = minimize_scalar(lambda t: -ascent.linkage_free_energy(x, p, expit(t)), bracket=(-1, 1))
    assert abs(expit(best.x) - ascent.best_theta(x, p)) < 1e-6


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
