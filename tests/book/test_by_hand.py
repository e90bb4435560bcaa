"EM for Poisson mixtures against published fits, enumeration of the kinds, and slopes."
from itertools import product

import numpy as np
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import poisson

from em_notes.book.by_hand import poisson_em
from em_notes.data.datasets import deaths

x, days = np.arange(10), np.bincount(deaths())


def test_published_death_notices():
    "Hasselblad 1969; Varadhan and Roland 2008."
    path = poisson_em(x, days, [0.3, 0.7], [1.0, 2.5], 4000)
    assert len(path) == 4001
    log_p, weights, rates = path[-1]
    assert abs(log_p + 1989.9458598829642) < 1e-8 and abs(weights[0] - 0.359885397) < 1e-6
    assert np.allclose(rates, [1.2560951012, 2.6634043566], atol=1e-5)
    one = poisson_em(x, days, [1.0], [5.0], 1)
    assert abs(one[1][0] + 2001.397847371757) < 1e-9 and abs(one[1][2][0] - 2.156934306569343) < 1e-12


def test_no_optimiser_finds_a_higher_point():
    best = poisson_em(x, days, [0.3, 0.7], [1.0, 2.5], 4000)[-1][0]
    def lack(v):
        w = 1 / (1 + np.exp(-v[0]))
        return -days @ np.log(poisson.pmf(x[:, None], np.exp(v[1:])) @ [w, 1 - w])
    found = [minimize(lack, start).fun for start in ([0, 0, 1], [2, 0.5, 1.5], [-1, -1, 1])]
    assert min(found) > -best - 1e-8 and min(found) < -best + 1e-4


@settings(max_examples=30, deadline=None)
@given(k=st.integers(1, 3), n=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_a_step_equals_enumeration(k, n, seed):
    "The sum over all assignments of kinds to days, and credits averaged over them."
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 6, n); weights, rates = rng.dirichlet(np.ones(k)), rng.uniform(0.5, 4, k)
    values, counts = np.unique(seen, return_counts=True)
    (log_p, *_), (_, new_weights, new_rates) = poisson_em(values, counts, weights, rates, 1)
    kinds = np.array(list(product(range(k), repeat=n)))
    joint = (np.log(weights)[kinds] + poisson.logpmf(seen, rates[kinds])).sum(1)
    q = np.exp(joint - logsumexp(joint))
    assert abs(log_p - logsumexp(joint)) < 1e-10
    one_hot = np.eye(k)[kinds]  # (k^n, n, k)
    expected = np.einsum("a,ank->k", q, one_hot)
    assert np.allclose(new_weights, expected / n, rtol=1e-9)
    assert np.allclose(new_rates, np.einsum("a,ank,n->k", q, one_hot, seen) / expected, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(k=st.integers(2, 4), seed=st.integers(0, 10**6))
def test_it_climbs_and_knows_no_names(k, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 50, 10); weights, rates = rng.dirichlet(np.ones(k)), rng.uniform(0.3, 8, k)
    path = poisson_em(x, counts, weights, rates, 20)
    assert (np.diff([log_p for log_p, _, _ in path]) > -1e-9).all()
    order = rng.permutation(k)
    other = poisson_em(x, counts, weights[order], rates[order], 20)[-1]
    assert np.allclose(other[1], path[-1][1][order], rtol=1e-8, atol=1e-12) and np.allclose(other[2], path[-1][2][order], rtol=1e-8)
    # ten times the days: the same parameters, ten times the log-likelihood
    tenfold = poisson_em(x, 10 * counts, weights, rates, 20)[-1]
    assert np.allclose(tenfold[2], path[-1][2], rtol=1e-9) and np.isclose(tenfold[0], 10 * path[-1][0], rtol=1e-12)


def test_equal_rates_stay_equal():
    mean = days @ x / days.sum()
    path = poisson_em(x, days, [0.3, 0.7], [2.0, 2.0], 20)
    assert np.allclose(path[-1][2], mean, rtol=1e-12) and np.isclose(path[-1][0], days @ poisson.logpmf(x, mean), rtol=1e-13)


def test_arguments_stay_as_they_were():
    weights, rates = np.array([0.3, 0.7]), np.array([1.0, 2.5])
    poisson_em(x, days, weights, rates, 3)
    assert weights.tolist() == [0.3, 0.7] and rates.tolist() == [1.0, 2.5]


def test_a_third_kind_that_never_has_a_notice():
    "0.0188 nats from a rate near 0; from other starts two rates merge; the slope in the weight of a new kind at rate 0 says so."
    log_p, weights, rates = poisson_em(x, days, [0.3, 0.7], [1.0, 2.5], 4000)[-1]
    assert days[0] / (weights @ np.exp(-rates)) - days.sum() > 5
    third = poisson_em(x, days, np.ones(3) / 3, [0.01, 1.5, 3.0], 5000)[-1]
    assert abs(third[0] - log_p - 0.018755) < 1e-5 and np.allclose(third[1], [0.00673, 0.38951, 0.60376], atol=1e-4)
    assert np.allclose(third[2], [0, 1.35551, 2.69801], atol=1e-4)
    merged = poisson_em(x, days, np.ones(3) / 3, [0.5, 2.0, 4.0], 4000)[-1]
    assert abs(merged[0] - log_p) < 1e-6 and abs(merged[2][1] - merged[2][2]) < 1e-4
