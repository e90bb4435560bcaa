"The functions of the chapter on exponential families against fifty digits, scipy, finite differences and hand values."
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats as sps

from em_notes.book import exponential_families as f

many = settings(max_examples=80, deadline=None)


def exact_deviance(x, r):
    getcontext().prec = 60
    x, r = Decimal(x), Decimal(r)
    return float((x * (x / r).ln() if x else 0) - x + r)


@many
@given(x=st.integers(0, 60) | st.integers(0, 10**15), shift=st.floats(-12, 2), sign=st.sampled_from([-1, 1]))
def test_deviance_keeps_its_digits(x, shift, sign):
    r = float(x) * (1 + sign * 10**shift) if x else 10**shift
    if not r > 0: r = float(x) * 10**shift
    true = exact_deviance(x, r)
    assert abs(f.deviance(x, r) - true) <= 1e-14 * true


def test_deviance_at_the_edges():
    assert f.deviance(0, 0) == 0 and f.deviance(0, 2.5) == 2.5 and f.deviance(3, 0) == np.inf
    assert f.deviance(7, 7) == 0 and abs(f.deviance(1.0, 1e-300) - (300 * np.log(10) - 1)) < 1e-12


@pytest.mark.parametrize("x", [0, 1, 2, 3, 10, 15, 16, 17, 18, 100, 1000])
def test_stirlings_remainder_by_the_factorial(x):
    getcontext().prec = 60
    if not x: return np.testing.assert_equal(f.stirling(np.array([0.0])), [0.0])
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
    log_factorial = sum((Decimal(i).ln() for i in range(1, x + 1)), Decimal(0))
    true = log_factorial - (x * Decimal(x).ln() - x + (2 * pi * x).ln() / 2)
    assert abs(f.stirling(np.array([float(x)]))[0] - float(true)) < 1e-14


@many
@given(seed=st.integers(0, 10**6), k=st.integers(1, 4), d=st.integers(1, 4), scale=st.sampled_from([0.1, 3.0, 1000.0]))
def test_log_probabilities_are_scipys(seed, k, d, scale):
    rng = np.random.default_rng(seed)
    rates = rng.gamma(1.0, scale, (k, d))
    x = rng.poisson(rates[rng.integers(0, k, 9)])
    np.testing.assert_allclose(f.poisson_log_prob(x, rates), sps.poisson.logpmf(x[:, None], rates).sum(-1), rtol=1e-9, atol=1e-9)
    p, yes = rng.random((k, d)), rng.integers(0, 2, (9, d))
    np.testing.assert_allclose(f.bernoulli_log_prob(yes, p), sps.bernoulli.logpmf(yes[:, None], p).sum(-1), rtol=1e-11)
    q, s = rng.dirichlet(np.ones(5), k), rng.integers(0, 5, 9)
    np.testing.assert_allclose(f.categorical_log_prob(s, q), np.log(q[:, s]).T, rtol=1e-14)
    np.testing.assert_allclose(f.one_hot(s, 5) @ np.log(q).T, f.categorical_log_prob(s, q), rtol=1e-12)


def test_large_counts_and_zeros():
    # at the best rate, -log(2 pi x) / 2 - 1 / (12 x)
    for x in (1e6, 1e12, 1e15):
        assert abs(f.poisson_log_prob(np.array([[x]]), np.array([[x]]))[0, 0] + 0.5 * np.log(2 * np.pi * x)) < 1e-7
    x = np.array([[0, 0], [0, 2], [3, 0]])
    ours = f.poisson_log_prob(x, np.array([[0.0, 1.5], [2.0, 0.0]]))
    wanted = [[-1.5, -2], [np.log(1.5**2 / 2) - 1.5, -np.inf], [-np.inf, np.log(2**3 / 6) - 2]]
    np.testing.assert_allclose(ours, wanted, rtol=1e-12)
    np.testing.assert_array_equal(f.bernoulli_log_prob(np.array([[0], [1]]), np.array([[0.0], [1.0]])), [[0, -np.inf], [-np.inf, 0]])
    np.testing.assert_array_equal(f.categorical_log_prob([1, 0], np.array([[1.0, 0.0]])), [[-np.inf], [0]])


@pytest.mark.slow
@many
@given(seed=st.integers(0, 10**6), m=st.integers(1, 3))
def test_slopes_of_the_log_partition_and_matching(seed, m):
    rng = np.random.default_rng(seed)
    eta, t, log_h = rng.normal(size=m), rng.normal(size=(9, m)), rng.normal(size=9)
    A, p = f.tilted(eta, t, log_h)
    assert abs(p.sum() - 1) < 1e-12 and abs(A - np.log(np.exp(log_h + t @ eta).sum())) < 1e-10
    for u in np.eye(m):
        up, down = eta + 1e-5 * u, eta - 1e-5 * u
        assert abs((f.tilted(up, t, log_h)[0] - f.tilted(down, t, log_h)[0]) / 2e-5 - u @ f.mean_of(eta, t, log_h)) < 1e-7
        np.testing.assert_allclose((f.mean_of(up, t, log_h) - f.mean_of(down, t, log_h)) / 2e-5, f.cov_of(eta, t, log_h) @ u, atol=1e-7)
    target = f.mean_of(eta, t, log_h)
    np.testing.assert_allclose(f.mean_of(f.match(target, t, log_h), t, log_h), target, atol=1e-9)


def test_statistics_and_their_match():
    t, r = np.array([[1.0, 4], [3, 0], [5, 2]]), np.array([[1, 0], [0.5, 0.5], [0, 1]])
    count, total = f.expected_statistics(t, r)
    assert count.tolist() == [1.5, 1.5] and total.tolist() == [[2.5, 4], [6.5, 2]]
    np.testing.assert_allclose(f.match_moments(count, total), [[5 / 3, 8 / 3], [13 / 3, 4 / 3]], rtol=1e-14)


def test_modes_are_pseudo_data_and_maxima():
    count, total = np.array([4.0, 6.0]), np.array([[3.0], [0.0]])
    np.testing.assert_allclose(f.gamma_mode(count, total, 4.0, 2.0), [[6 / 6], [3 / 8]], rtol=1e-14)
    np.testing.assert_allclose(f.gamma_mode(count, total, 1.0, 0.0), total / count[:, None], rtol=1e-14) # no prior
    np.testing.assert_allclose(f.beta_mode(count, total, 3.0, 2.0), [[5 / 7], [2 / 9]], rtol=1e-14)
    np.testing.assert_allclose(f.dirichlet_mode(np.array([[1.0, 0, 2], [0, 0, 0]]), np.array([2.0, 2, 1])), [[0.4, 0.2, 0.4], [0.5, 0.5, 0]], rtol=1e-14)
    np.testing.assert_allclose(f.dirichlet_mode(np.array([1.0, 3.0]), 1.0), [0.25, 0.75], rtol=1e-14)
    for wrong in (lambda: f.dirichlet_mode(np.zeros(3), 0.5), lambda: f.gamma_mode(count, total, 0.5, 1.0), lambda: f.beta_mode(count, total, 0.5, 1.0)):
        with pytest.raises(ValueError, match="must not be negative, got -0.5"): wrong()
    rates = np.linspace(0.5, 1.5, 1001) * 3 / 8
    assert (-6 * rates + f.gamma_log_prob(rates, 4.0, 2.0)).argmax() == 500


def test_prior_densities_are_scipys():
    r, p = np.array([0.3, 2.0]), np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    np.testing.assert_allclose(f.gamma_log_prob(r, 2.5, 1.5), sps.gamma.logpdf(r, 2.5, scale=1 / 1.5), rtol=1e-12)
    np.testing.assert_allclose(f.beta_log_prob(p, 2.5, 0.7), sps.beta.logpdf(p, 2.5, 0.7), rtol=1e-12)
    for alpha in ([2.0, 3.0, 0.5], 1.5):
        np.testing.assert_allclose(f.dirichlet_log_prob(p, alpha), [sps.dirichlet.logpdf(q, np.broadcast_to(alpha, 3)) for q in p], rtol=1e-12)
    assert f.beta_log_prob(0.0, 1.0, 2.0) == np.log(2) # a power of zero costs nothing


def test_draws_and_logits():
    p = np.array([0.5, 0.2, 0.0, 0.3])
    share = np.bincount(f.draw(np.tile(p, (100_000, 1)), np.random.default_rng(1)), minlength=4) / 100_000
    assert share[2] == 0 and (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 100_000)).all()
    v = np.array([[1.0, -2.0], [0.0, 0.0]])
    q = f.from_logits(v)
    np.testing.assert_allclose(np.log(q[:, :-1] / q[:, -1:]), v, atol=1e-14)
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-14)


def test_two_poissons_for_the_death_notices():
    "Hasselblad 1969; the digits of Varadhan and Roland 2008."
    from em_notes.data.datasets import deaths
    x = deaths()
    weights, rates, track = f.poisson_mixture(x, np.array([0.4, 0.6]), np.array([1.2, 2.7]), 2500)
    np.testing.assert_allclose([weights[0], *rates], [0.359885397, 1.2560951012, 2.6634043566], atol=1e-4)
    assert abs(track[-1] + 1989.9458598829642) < 1e-6 and np.diff(track).min() > -1e-9
    wanted = sps.poisson.pmf(x[:, None], [1.2, 2.7]) @ [0.4, 0.6]
    assert abs(track[0] - np.log(wanted).sum()) < 1e-9


def test_poisson_mixture_with_any_number_of_components():
    x = np.random.default_rng(0).poisson(3.0, 60)
    weights, rates, track = f.poisson_mixture(x, np.array([0.2, 0.3, 0.5]), np.array([1.0, 3.0, 6.0]), 20)
    np.testing.assert_allclose([weights.sum(), weights @ rates], [1, x.mean()], rtol=1e-12)
    # the last entry belongs to the parameters that are returned
    assert len(track) == 21 and abs(track[-1] - np.log(sps.poisson.pmf(x[:, None], rates) @ weights).sum()) < 1e-9
    assert len(f.poisson_mixture(x, weights, rates, 0)[2]) == 1


@many
@given(seed=st.integers(0, 10**6))
def test_divergence_is_the_height_above_the_tangent(seed):
    rng = np.random.default_rng(seed)
    t, log_h, eta, other = rng.normal(size=(6, 2)), rng.normal(size=6), rng.normal(size=2), rng.normal(size=2)
    (A, p), (B, q) = f.tilted(eta, t, log_h), f.tilted(other, t, log_h)
    np.testing.assert_allclose(B - A - (other - eta) @ f.mean_of(eta, t, log_h), p @ np.log(p / q), rtol=1e-8, atol=1e-12)


def test_enumerated_em_climbs_to_a_stationary_point():
    rng = np.random.default_rng(0)
    t, log_h, seen = rng.normal(size=(4, 2, 2)), rng.normal(size=(4, 2)), np.array([3, 1, 4, 2])

    def log_p(e):
        joint = np.exp(log_h + t @ e)
        return seen @ np.log(joint.sum(1) / joint.sum())

    eta, track = np.zeros(2), []
    for _ in range(200):
        assert abs(f.em_step_by_enumeration(eta, seen, t, log_h)[1] - log_p(eta)) < 1e-12
        eta = f.em_step_by_enumeration(eta, seen, t, log_h)[0]
        track.append(log_p(eta))
    assert np.diff(track).min() > -1e-11
    for u in 1e-5 * np.eye(2): assert abs(log_p(eta + u) - log_p(eta - u)) / 2e-5 < 1e-4
    # nothing hidden: one step is the maximum of the likelihood, the means match
    t, log_h = t[:, :1], log_h[:, :1]
    eta, _ = f.em_step_by_enumeration(np.ones(2), seen, t, log_h)
    np.testing.assert_allclose(f.mean_of(eta, t[:, 0], log_h[:, 0]), seen @ t[:, 0] / 10, atol=1e-10)


def test_a_curved_family_matches_along_its_curve_only():
    from em_notes.data.datasets import linkage
    animals, theta = linkage(), (15 + np.sqrt(53809)) / 394
    s = np.array([animals[0] * theta / (2 + theta) + animals[3], animals[1] + animals[2]])
    cells, h = np.array([[0, 0], [1, 0], [0, 1], [0, 1], [1, 0]]), np.log([0.5, 0.25, 0.25, 0.25, 0.25])
    own = 197 * f.mean_of(np.log([theta, 1 - theta]), cells, h)
    assert abs(own.sum() - 98.5) < 1e-10 and round(s.sum(), 1) == 101.8
    assert abs((s - own) @ [1 / theta, -1 / (1 - theta)]) < 1e-9
    free = f.match(s / 197, cells, h) # the full family does match
    np.testing.assert_allclose(197 * f.mean_of(free, cells, h), s, rtol=1e-10)


def test_jaynes_die():
    faces = np.arange(1.0, 7)[:, None]
    die = f.tilted(f.match(np.array([4.5]), faces, np.zeros(6)), faces, np.zeros(6))[1]
    np.testing.assert_allclose(die, [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749], atol=6e-6)
