"The functions of the chapter on hidden Markov models against enumeration, differences and published values."
import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import softmax
from scipy.stats import kstest, multivariate_normal, norm, poisson

from em_notes.book import chains, hmm

log_poisson = lambda x, rates: poisson.logpmf(x[:, None], rates)


def model(k, seed):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k), rng


@settings(max_examples=25, deadline=None)
@given(k=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_expected_counts_equal_enumeration(k, seed):
    initial, trans, rng = model(k, seed)
    logliks = [rng.normal(size=(n, k)) * 3 for n in (4, 1, 3)]
    first, steps, gammas, log_p = hmm.expected_counts(initial, trans, logliks)
    total, firsts, stepss = 0, 0, 0
    for loglik, gamma in zip(logliks, gammas):
        paths, joint = chains.all_paths(initial, trans, loglik)
        own = np.logaddexp.reduce(joint)
        p, counts = np.exp(joint - own), [hmm.path_counts([z], k) for z in paths]
        total, firsts, stepss = total + own, firsts + sum(q * c[0] for q, c in zip(p, counts)), stepss + sum(q * c[1] for q, c in zip(p, counts))
        assert np.allclose(gamma, np.einsum("p,ptj->tj", p, np.eye(k)[paths]), atol=1e-12)
        parts = [hmm.chain_log_joint(*c, initial, trans) + loglik[np.arange(len(z)), z].sum() for z, c in zip(paths, counts)]
        assert np.allclose(parts, joint, atol=1e-10) # (8.1) is (7.1)
    assert np.allclose(first, firsts, atol=1e-12) and np.allclose(steps, stepss, atol=1e-12) and abs(log_p - total) < 1e-10
    entropy = sum(chains.chain_entropy(initial, trans, l) for l in logliks)
    emitted = sum(np.sum(g * l) for g, l in zip(gammas, logliks))
    assert abs(hmm.chain_log_joint(first, steps, initial, trans) + emitted + entropy - log_p) < 1e-9


def test_counts_of_paths_stop_at_the_seams():
    first, steps = hmm.path_counts([np.array([0, 0, 1]), np.array([1]), np.array([1, 0])], 2)
    assert first.tolist() == [1, 2] and steps.tolist() == [[1, 1], [1, 0]]
    assert hmm.chain_log_joint(first, steps, np.array([1.0, 0]), np.full((2, 2), 0.5)) == -np.inf
    assert hmm.chain_log_joint(np.array([1, 0]), np.zeros((2, 2)), np.array([1.0, 0]), np.eye(2)) == 0


def test_rows():
    old = np.array([[0.5, 0.5, 0], [0, 0, 1.0]])
    counts = np.array([[3.0, 1, 0], [0, 0, 0]])
    assert np.allclose(hmm.mode_rows(counts, old), [[0.75, 0.25, 0], [0, 0, 1]])
    assert np.allclose(hmm.mode_rows(counts, old, np.array([1.0, 3, 9])), [[0.5, 0.5, 0], [0, 0, 1]])
    assert np.allclose(hmm.mode_rows(counts, old, np.array([[1.0, 3, 9], [1, 1, 1]])), [[0.5, 0.5, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="alpha"): hmm.mode_rows(counts, old, 0.5 * np.ones((2, 3)) - np.eye(2, 3) * 3)


def test_weighted_means_of_numbers_vectors_and_symbols():
    rng = np.random.default_rng(0)
    gamma, x = rng.dirichlet(np.ones(3), 50), rng.normal(size=(50, 2))
    means = hmm.weighted_means(x, gamma)
    assert np.allclose(means, [np.average(x, 0, g) for g in gamma.T]) and np.allclose(hmm.weighted_means(x[:, 0], gamma), means[:, 0])
    symbols = rng.integers(4, size=50)
    assert np.allclose(hmm.weighted_means(np.eye(4)[symbols], gamma), [np.bincount(symbols, g, 4) / g.sum() for g in gamma.T])


def test_published_run():
    "Zucchini and MacDonald, Table 4.1, from the counts they print."
    counts = np.array([13, 14, 8, 10, 16, 26, 32, 27, 18, 32, 36, 24, 22, 23, 22, 18, 25, 21, 21, 14, 8, 11, 14, 23, 18, 17, 19, 20, 22, 19, 13, 26, 13,
                       14, 22, 24, 21, 22, 26, 21, 23, 24, 27, 41, 31, 27, 35, 26, 28, 36, 39, 21, 17, 22, 17, 19, 15, 34, 10, 15, 22, 18, 15, 20, 15, 22,
                       19, 16, 30, 27, 29, 23, 20, 16, 21, 21, 25, 16, 18, 15, 18, 14, 10, 15, 8, 15, 6, 11, 8, 7, 18, 16, 13, 12, 13, 20, 15, 16, 12, 18,
                       15, 16, 13, 15, 16, 11, 11])
    theta = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([10.0, 30.0])
    for t in range(31):
        *theta, log_p = hmm.baum_welch_step([counts], *theta, log_poisson, hmm.weighted_means)
        if t in (0, 1, 2, 30): assert abs(-log_p - {0: 413.27542, 1: 343.76023, 2: 343.13618, 30: 341.87871}[t]) < 1.1e-5


@pytest.mark.parametrize("step", [hmm.baum_welch_step, hmm.viterbi_step])
def test_steps_never_lower_their_bound(step):
    "Gaussians in the plane, three sequences, with and without a prior."
    initial, trans, rng = model(2, 4)
    zs = [chains.sample_states(initial, trans, n, rng) for n in (40, 1, 25)]
    xs = [np.array([[0.0, 0], [2, 1]])[z] + rng.normal(size=(len(z), 2)) for z in zs]
    log_prob = lambda x, e: np.column_stack([multivariate_normal(m, c).logpdf(x).reshape(len(x)) for m, c in zip(*e)])
    def m_step(x, gamma):
        means = hmm.weighted_means(x, gamma)
        return means, np.array([np.cov(x.T, aweights=g, ddof=0) for g in gamma.T])
    for alpha in (1.0, 2.0):
        theta, bounds = (np.full(2, 0.5), np.full((2, 2), 0.5), (np.array([[-1.0, 0], [1, 0]]), np.array([np.eye(2)] * 2))), []
        for _ in range(15):
            log_prior = (alpha - 1) * (np.log(theta[0]).sum() + np.log(theta[1]).sum()) if alpha > 1 else 0
            *theta, bound = step(xs, *theta, log_prob, m_step, alpha)
            bounds.append(bound + log_prior)
        assert np.all(np.diff(bounds) > -1e-9) and bounds[-1] > bounds[0] + 1


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 5), seed=st.integers(0, 10**6), scale=st.sampled_from([0.1, 1.0, 30.0]), zeros=st.booleans())
def test_stationary_step_climbs_to_a_top(k, seed, scale, zeros):
    _, trans, rng = model(k, seed)
    if zeros:
        trans = np.where((rng.random((k, k)) < 0.3) & (np.arange(k)[:, None] != np.arange(k)) & ((np.arange(k)[:, None] + 1) % k != np.arange(k)), 0, trans)
        trans /= trans.sum(1, keepdims=True)
    first, steps = rng.dirichlet(np.ones(k)), np.where(trans > 0, rng.gamma(1.0, size=(k, k)) * scale, 0)
    best = hmm.stationary_step(first, steps, trans)
    G = lambda a: hmm.stationary_objective(first, steps, a)[0]
    assert np.allclose(best.sum(1), 1, atol=1e-12) and not best[trans == 0].any()
    top = G(best)
    for start in (trans, hmm.mode_rows(steps, trans)): assert top >= G(start) - 1e-12 * (1 + abs(top))
    for size in (1e-3, 0.1, 1.0):
        with np.errstate(divide="ignore"): other = softmax(np.log(best) + size * rng.normal(size=(k, k)), axis=1)
        assert G(other) <= top + 1e-9 * (1 + abs(top))


def test_slopes_of_the_stationary_start():
    _, trans, rng = model(4, 2)
    first, move = rng.gamma(2.0, size=4), rng.normal(size=(4, 4))
    move -= move.mean(1, keepdims=True)
    value = lambda h: hmm.stationary_objective(first, np.zeros((4, 4)), trans + h * move)[0]
    assert abs((value(1e-5) - value(-1e-5)) / 2e-5 - np.sum(hmm.stationary_objective(first, np.zeros((4, 4)), trans)[1] * move)) < 1e-6


def test_stationary_step_bears_the_extremes():
    "Many sequences of length 1; a state never seen first; classes that would fall apart; sixty states."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = hmm.stationary_step(np.array([100.0, 30, 1]), np.zeros((3, 3)), np.full((3, 3), 1 / 3))
        assert np.allclose(chains.stationary(alone), np.array([100, 30, 1]) / 131, atol=1e-6)
        hmm.stationary_step(np.array([100.0, 3, 0]), np.zeros((3, 3)), np.full((3, 3), 1 / 3))
        apart = hmm.stationary_step(np.array([1.0, 0, 0]), np.diag([3.0, 2, 1]), np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]]))
        assert np.isfinite(hmm.stationary_objective(np.array([1.0, 0, 0]), np.diag([3.0, 2, 1]), apart)[0])
        first, trans, rng = model(60, 0)
        steps = rng.gamma(0.3, size=(60, 60)) * 5
        best = hmm.stationary_step(first, steps, trans)
        slopes = steps + best * hmm.stationary_objective(first, steps, best)[1] # at a top proportional to best
        assert np.allclose(slopes, best * slopes.sum(1, keepdims=True), atol=1e-6 * steps.max())


@settings(max_examples=20, deadline=None)
@given(k=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_stationary_step_is_never_worse(k, seed):
    "A generalized M-step: not below where it began, whatever the counts."
    _, trans, rng = model(k, seed)
    first, steps = rng.dirichlet(np.ones(k)), rng.gamma(0.3, size=(k, k)) * 10.0 ** rng.integers(-3, 3)
    G = lambda a: hmm.stationary_objective(first, steps, a)[0]
    assert G(hmm.stationary_step(first, steps, trans)) >= G(trans) - 1e-12 * (1 + abs(G(trans)))


def test_a_row_without_a_mode_inside():
    with pytest.raises(ValueError, match="alpha"): hmm.mode_rows(np.array([[3.0, 0.2]]), np.full((1, 2), 0.5), 0.5)


@pytest.mark.parametrize("continuous", [False, True])
def test_pseudo_residuals_are_normal_where_the_model_is_true(continuous):
    rng, k = np.random.default_rng(5), 3
    initial, trans, level = np.full(k, 1 / k), 0.85 * np.eye(k) + 0.05, np.array([4.0, 10, 20])
    z, v = chains.sample_states(initial, trans, 5000, rng), rng.random(5000)
    def judged(level):
        if continuous: return hmm.pseudo_residuals(initial, trans, norm.logpdf(x[:, None], level, 2), *2 * [norm.cdf(x[:, None], level, 2)], v)
        return hmm.pseudo_residuals(initial, trans, log_poisson(x, level), poisson.cdf(x[:, None] - 1, level), poisson.cdf(x[:, None], level), v)
    x = rng.normal(level[z], 2) if continuous else rng.poisson(level[z])
    r = judged(level)
    assert kstest(r, "norm").pvalue > 0.01
    for lag in range(1, 6): assert abs(np.corrcoef(r[lag:], r[:-lag])[0, 1]) < 4.5 / np.sqrt(5000)
    assert kstest(judged(level + 0.8), "norm").pvalue < 1e-6 # and not where it isn't


def test_pseudo_residuals_by_their_definition():
    "One-step forecasts of a count, by ratios of likelihoods."
    initial, trans, rng = model(2, 7)
    rates, x = np.array([3.0, 9.0]), np.array([2, 8, 11, 3, 4])
    r = hmm.pseudo_residuals(initial, trans, log_poisson(x, rates), poisson.cdf(x[:, None] - 1, rates), poisson.cdf(x[:, None], rates))
    for t in range(5):
        before = chains.log_likelihood(initial, trans, log_poisson(x[:t], rates)) if t else 0.0
        p = np.exp([chains.log_likelihood(initial, trans, log_poisson(np.r_[x[:t], c], rates)) - before for c in range(x[t] + 1)])
        assert abs(r[t] - norm.ppf(p[:-1].sum() + p[-1] / 2)) < 1e-9


def test_the_geyser_s_waits():
    "Two Gaussian states on Old Faithful's waiting times: 37 nats above the mixture, and the steps that can be counted."
    from em_notes.data.datasets import faithful
    x, eruption = faithful()[:, 1], faithful()[:, 0] > 3
    gauss = lambda x, e: norm.logpdf(x[:, None], e[0], np.sqrt(e[1]))
    def moments(x, gamma):
        means = hmm.weighted_means(x, gamma)
        return means, np.sum(gamma * (x[:, None] - means) ** 2, 0) / gamma.sum(0)
    theta, bounds = (np.full(2, 0.5), np.full((2, 2), 0.5), (np.array([55.0, 80]), np.array([36.0, 36]))), []
    for _ in range(60):
        *theta, bound = hmm.baum_welch_step([x], *theta, gauss, moments)
        bounds.append(bound)
    assert abs(bounds[-1] + 997.2188) < 1e-3 and np.all(np.diff(bounds) > -1e-9)
    assert np.mean(hmm.viterbi(*theta[:2], gauss(x, theta[2]))[0] == eruption) > 0.95


def test_known_states():
    loglik = np.zeros((3, 2))
    assert hmm.known_states(loglik, np.array([-1, 1, 0])).tolist() == [[0, 0], [-np.inf, 0], [0, -np.inf]]
    assert not loglik.any()


def test_sampled_states_have_the_chain_s_frequencies():
    initial, trans, rng = model(3, 8)
    z = chains.sample_states(initial, trans, 30_000, rng)
    first = np.bincount([chains.sample_states(initial, trans, 1, s)[0] for s in range(3000)], minlength=3) / 3000
    steps = hmm.path_counts([z], 3)[1]
    assert np.allclose(steps / steps.sum(1, keepdims=True), trans, atol=0.03) and np.allclose(first, initial, atol=0.05)
