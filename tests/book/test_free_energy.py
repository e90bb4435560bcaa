"Laws of the free energy on tables of log joint probabilities that hypothesis makes up."
import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from em_notes.book.free_energy import expected_loglik, free_energy, log_evidence, posterior
from em_notes.book.jensen import entropy, kl

laws = settings(deadline=None, max_examples=60, derandomize=True)


@st.composite
def tables(draw, zeros=True):
    "A table (n, k) with some probabilities zero, never a whole row, and distributions q that respect the zeros."
    n, k, scale = draw(st.integers(1, 6)), draw(st.integers(1, 7)), draw(st.sampled_from([0.1, 1, 10, 50]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    table = rng.normal(scale=scale, size=(n, k)) + draw(st.sampled_from([-1e4, -30, 0, 1e3]))
    if zeros:
        keep = rng.integers(k, size=n)
        table[(rng.random((n, k)) < 0.3) & (np.arange(k) != keep[:, None])] = -np.inf
    q = rng.dirichlet(np.full(k, draw(st.sampled_from([0.1, 1, 10]))), size=n) + 1e-12
    q *= table > -np.inf
    return table, q / q.sum(axis=1, keepdims=True)


def size(q, table):
    "The sum of the absolute terms of F, to which rounding is relative."
    return 1 + (q * np.where(q > 0, abs(table), 0)).sum(axis=-1) + np.log(q.shape[-1]) + abs(table.max(axis=-1))


@laws
@given(tables())
def test_evidence_is_free_energy_plus_divergence(case):
    table, q = case
    # the divergence from the logarithms, as the stored posterior may underflow to 0
    log_post = table - log_evidence(table)[:, None]
    D = (q * np.where(q > 0, np.log(np.where(q > 0, q, 1)) - np.where(q > 0, log_post, 0), 0)).sum(axis=1)
    assert (abs(free_energy(q, table) + D - log_evidence(table)) <= 1e-12 * (size(q, table) + abs(D))).all()


@laws
@given(tables())
def test_identity_with_the_library_s_kl(case):
    table, q = case
    p = posterior(table)
    if ((q > 0) & (p < 1e-300)).any():
        return
    D = kl(q, p)
    assert (abs(free_energy(q, table) + D - log_evidence(table)) <= 1e-12 * (size(q, table) + D)).all()


@laws
@given(tables())
def test_free_energy_is_a_lower_bound_and_tight_at_the_posterior_only(case):
    table, q = case
    best = log_evidence(table)
    assert (free_energy(q, table) <= best + 1e-12 * size(q, table)).all()
    p = posterior(table)
    assert (abs(free_energy(p, table) - best) <= 1e-12 * size(p, table)).all()
    other = 0.5 * p + 0.5 * q
    far = abs(other - p).sum(axis=1) > 1e-3
    # Pinsker: half of 1e-6 nats, visible where rounding is smaller
    seen = far & (1e-12 * size(other, table) < 1e-8)
    assert (free_energy(other, table) < best - 4e-7)[seen].all()


@laws
@given(tables())
def test_the_two_terms(case):
    table, q = case
    F = expected_loglik(q, table) + entropy(q)
    np.testing.assert_array_equal(free_energy(q, table), F)
    by_hand = [sum(b * a for b, a in zip(qs, row) if b > 0) for qs, row in zip(q, table)]
    np.testing.assert_allclose(expected_loglik(q, table), by_hand, rtol=1e-12, atol=1e-11)


@laws
@given(st.lists(st.fractions(Fraction(1, 10**6), 1), min_size=1, max_size=6))
def test_evidence_and_posterior_agree_with_exact_fractions(weights):
    total = sum(weights)
    table = np.log([float(w) for w in weights])
    assert np.isclose(log_evidence(table), np.log(float(total)), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(posterior(table), [float(w / total) for w in weights], rtol=1e-12)


@laws
@given(tables(), st.floats(-1e6, 1e6))
def test_a_factor_moves_the_evidence_and_leaves_the_posterior(case, c):
    table, q = case
    atol = 1e-15 * (abs(c) + 1e4) * 10
    np.testing.assert_allclose(log_evidence(table + c), log_evidence(table) + c, rtol=1e-14, atol=atol)
    np.testing.assert_allclose(posterior(table + c), posterior(table), rtol=0, atol=4 * atol)
    np.testing.assert_allclose(free_energy(q, table + c), free_energy(q, table) + c, rtol=1e-12, atol=4 * atol)


@laws
@given(tables())
def test_posterior_is_a_distribution_without_mass_on_the_impossible(case):
    table, _ = case
    p = posterior(table)
    assert (p >= 0).all() and np.allclose(p.sum(axis=1), 1, rtol=1e-14) and (p[table == -np.inf] == 0).all()


@laws
@given(tables(), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_concave_in_q(case, seed, lam):
    table, q = case
    r = np.random.default_rng(seed).dirichlet(np.ones(q.shape[1]), size=len(q)) * (table > -np.inf)
    r = r / r.sum(axis=1, keepdims=True)
    s = lam * q + (1 - lam) * r
    rise = free_energy(s, table) - lam * free_energy(q, table) - (1 - lam) * free_energy(r, table)
    right = lam * kl(q, s) + (1 - lam) * kl(r, s) if 0 < lam < 1 else np.zeros(len(q))
    assert (abs(rise - right) <= 1e-12 * (size(q, table) + size(r, table))).all()


def test_independent_rows_add():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(3, 2))
    # all 2^3 joint states of three independent rows
    joint = np.array([sum(rows[i, z] for i, z in enumerate(zs)) for zs in itertools.product(range(2), repeat=3)])
    q = rng.dirichlet(np.ones(2), size=3)
    q_joint = np.array([np.prod([q[i, z] for i, z in enumerate(zs)]) for zs in itertools.product(range(2), repeat=3)])
    assert np.isclose(log_evidence(joint), log_evidence(rows).sum(), rtol=1e-14)
    assert np.isclose(free_energy(q_joint, joint), free_energy(q, rows).sum(), rtol=1e-13)


def test_leading_axes_and_broadcasting():
    rng = np.random.default_rng(4)
    table = rng.normal(size=(2, 3, 4))
    q = rng.dirichlet(np.ones(4), size=(2, 3))
    assert log_evidence(table).shape == (2, 3) == free_energy(q, table).shape and posterior(table).shape == (2, 3, 4)
    np.testing.assert_array_equal(free_energy(q, table)[1, 2], free_energy(q[1, 2], table[1, 2]))
    assert free_energy(q[0, 0], table).shape == (2, 3)
    assert log_evidence(np.empty((0, 3))).shape == (0,) and posterior(np.empty((0, 3))).shape == (0, 3)


def test_support():
    table = np.array([-1.0, -np.inf, -3.0])
    assert np.isfinite(free_energy([1.0, 0.0, 0.0], table))
    assert free_energy([0.5, 0.25, 0.25], table) == -np.inf == expected_loglik([0.5, 0.25, 0.25], table)
    assert log_evidence([-np.inf, -np.inf]) == -np.inf == free_energy([0.5, 0.5], [-np.inf, -np.inf])


def test_extreme_numbers_stay_exact():
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert log_evidence([1e308, -1e308]) == 1e308 and (posterior([1e308, -1e308]) == [1, 0]).all()
        assert log_evidence([-1e5, -1e5]) == pytest.approx(-1e5 + np.log(2), rel=1e-15)


@pytest.mark.parametrize("call, message", [
    (lambda: log_evidence([0.0, np.nan]), r"log_joint\[1\] is nan, expected finite or -inf"),
    (lambda: posterior([[0.0], [np.inf]]), r"log_joint\[1, 0\] is inf"),
    (lambda: log_evidence(3.0), r"log_joint has shape \(\), expected"),
    (lambda: log_evidence(np.empty((2, 0))), r"k >= 1"),
    (lambda: posterior([[-1.0, 0.0], [-np.inf, -np.inf]]), r"log_joint row \[1\] is -inf in every state"),
    (lambda: posterior([-np.inf]), r"log_joint is -inf in every state"),
    (lambda: free_energy([0.5, 0.4], [0.0, 0.0]), r"q sums to 0.9, expected 1"),
    (lambda: free_energy([1.0], [0.0, 0.0]), r"q has 1 states but log_joint has shape \(2,\)"),
])
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_published_numbers():
    "Do and Batzoglou (2008), figure 1: which coin, and the coins after a step."
    heads, coins = np.array([5, 9, 8, 4, 7])[:, None], np.array([0.6, 0.5])
    resp = posterior(heads * np.log(coins) + (10 - heads) * np.log(1 - coins) + np.log(0.5))
    np.testing.assert_array_equal(np.round(resp[:, 0], 2), [0.45, 0.80, 0.73, 0.35, 0.65])
    np.testing.assert_array_equal(np.round((resp * heads).sum(0) / (10 * resp.sum(0)), 2), [0.71, 0.58])


def test_brute_force_over_joint_states():
    "Rows that depend on each other: F over all states, at a q that isn't a product, against plain probabilities."
    rng = np.random.default_rng(5)
    joint = rng.dirichlet(np.ones(2**4)) * 0.01
    q = rng.dirichlet(np.ones(2**4))
    table = np.log(joint)
    assert np.isclose(free_energy(q, table), sum(a * np.log(b / a) for a, b in zip(q, joint)), rtol=1e-13)
    assert np.isclose(log_evidence(table), np.log(0.01), rtol=1e-13)
    assert np.isclose(np.log(0.01) - free_energy(q, table), kl(q, joint / 0.01), rtol=1e-12)


def test_the_second_road():
    "l(theta) >= l(old) + sum r log ratio of joints, for random tables of old and new joints; equality where they agree."
    rng = np.random.default_rng(6)
    old, new = rng.normal(scale=2, size=(2, 500, 4))
    r = posterior(old)
    right = log_evidence(old) + (r * (new - old)).sum(axis=1)
    np.testing.assert_allclose(right, free_energy(r, new), rtol=1e-12, atol=1e-12)
    assert (log_evidence(new) >= right).all() and np.median(log_evidence(new) - right) > 0.1


def test_fit_minus_divergence_from_the_prior():
    rng = np.random.default_rng(7)
    prior, q, likelihood = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4), size=500), rng.normal(size=(500, 4))
    right = (q * likelihood).sum(axis=1) - kl(q, np.broadcast_to(prior, q.shape))
    np.testing.assert_allclose(free_energy(q, np.log(prior) + likelihood), right, rtol=1e-12, atol=1e-12)


def test_bound_and_likelihood_have_one_slope_at_the_posterior():
    "Tables that move along a direction: the derivative of the evidence is the posterior's average of theirs."
    rng = np.random.default_rng(8)
    table, way = rng.normal(size=(2, 300, 5))
    r, eps = posterior(table), 1e-5
    slope = (log_evidence(table + eps * way) - log_evidence(table - eps * way)) / (2 * eps)
    np.testing.assert_allclose(slope, (r * way).sum(axis=1), atol=1e-9)
    missing = log_evidence(table + way) - free_energy(r, table + way)
    np.testing.assert_allclose(missing, kl(r, posterior(table + way)), atol=1e-12)


def test_a_restricted_q_may_lower_the_likelihood():
    "Hard EM on the five rows of Do and Batzoglou: F rises, the log-likelihood falls."
    heads = np.array([5, 9, 8, 4, 7])[:, None]
    table = lambda coins: heads * np.log(coins) + (10 - heads) * np.log(1 - coins) + np.log(0.5)
    old = np.array([0.80, 0.52])
    hard = np.eye(2)[table(old).argmax(axis=1)]
    new = (hard * heads).sum(0) / (10 * hard.sum(0))
    assert free_energy(hard, table(new)).sum() > free_energy(hard, table(old)).sum() + 0.1
    assert log_evidence(table(new)).sum() < log_evidence(table(old)).sum() - 0.1
