"The functions of the chapter on chains against enumeration, published values and extended precision."
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from em_notes.book import chains


def chain(k, n, seed, sparse=False, scale=3.0):
    rng = np.random.default_rng(seed)
    initial, trans, loglik = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k), rng.normal(size=(n, k)) * scale
    if sparse:
        trans[(rng.random((k, k)) < 0.4) & ~np.eye(k, dtype=bool)] = 0
        trans /= trans.sum(1, keepdims=True)
        loglik[rng.random((n, k)) < 0.2] = -np.inf
    return initial, trans, loglik


@settings(max_examples=60, deadline=None)
@given(k=st.integers(1, 3), n=st.integers(1, 7), seed=st.integers(0, 10**6), sparse=st.booleans(), scale=st.sampled_from([3.0, 3000.0]))
def test_everything_equals_enumeration(k, n, seed, sparse, scale):
    args = initial, trans, loglik = chain(k, n, seed, sparse, scale)
    paths, joint = chains.all_paths(*args)
    total, near = logsumexp(joint), 1e-13 * scale * n
    gamma, steps, log_p = chains.smooth(*args)
    if total == -np.inf:
        assert log_p == chains.log_likelihood(*args) == chains.viterbi(*args)[1] == -np.inf
        assert not gamma.any() and not steps.any()
        with pytest.raises(ValueError, match="loglik"): chains.sample_path(*args, 0)
        return
    p, hot = np.exp(joint - total), np.eye(k)[paths] # (paths, n, k)
    assert abs(log_p - total) < near and abs(chains.log_likelihood(*args) - total) < near
    assert np.allclose(gamma, np.einsum("p,ptj->tj", p, hot), atol=near)
    xi = np.einsum("p,pti,ptj->tij", p, hot[:, :-1], hot[:, 1:])
    log_filtered, log_norm = chains.forward(*args)
    log_beta = chains.backward(trans, loglik, log_norm)
    assert np.allclose(chains.pairs(trans, loglik, log_filtered, log_beta), xi, atol=near) and np.allclose(steps, xi.sum(0), atol=near)
    assert abs(chains.chain_entropy(*args) + (p[p > 0] * np.log(p[p > 0])).sum()) < 100 * near
    path, best = chains.viterbi(*args)
    assert abs(best - joint.max()) < near and abs(chains.path_log_joint(*args, path) - best) < near
    filtered, predicted, _ = chains.filtering(*args)
    assert np.array_equal(predicted[0], initial)
    for t in range(n): # the filtered row is the last smoothed row of the shorter chain
        assert np.allclose(filtered[t], chains.smooth(initial, trans, loglik[:t + 1])[0][-1], atol=near)
    assert all(chains.path_log_joint(*args, z) > -np.inf for z in chains.sample_path(*args, seed, size=5))


@settings(max_examples=60, deadline=None)
@given(k=st.integers(1, 3), n=st.integers(1, 7), seed=st.integers(0, 10**6))
def test_messages_in_ordinary_numbers_equal_enumeration(k, n, seed):
    "Plain and scaled, in the states' posteriors and by what they mean."
    args = initial, trans, loglik = chain(k, n, seed)
    like, (paths, joint) = np.exp(loglik), chains.all_paths(*args)
    p, hot = np.exp(joint - logsumexp(joint)), np.eye(k)[paths]
    xi = np.einsum("p,pti,ptj->tij", p, hot[:, :-1], hot[:, 1:])
    alpha, beta = chains.messages(initial, trans, like)
    filtered, scaled, c = chains.scaled_messages(initial, trans, like)
    assert np.allclose((alpha * beta).sum(1), np.exp(joint).sum(), rtol=1e-10) and abs(np.log(c).sum() - logsumexp(joint)) < 1e-10
    for pair in ((alpha, beta), (filtered, scaled)):
        gamma, found = chains.state_posteriors(trans, like, *pair)
        assert np.allclose(gamma, np.einsum("p,ptj->tj", p, hot), atol=1e-12) and np.allclose(found, xi, atol=1e-12)
    assert np.allclose(filtered * scaled, gamma, atol=1e-12)
    for t in range(n): # alpha_t and c_t are probabilities of the shorter history
        short = chains.all_paths(initial, trans, loglik[:t + 1])
        by_state = [np.exp(short[1][short[0][:, -1] == j]).sum() for j in range(k)]
        assert np.allclose(alpha[t], by_state, rtol=1e-10) and np.isclose(np.prod(c[:t + 1]), sum(by_state), rtol=1e-10)
        assert np.allclose(filtered[t], alpha[t] / alpha[t].sum(), rtol=1e-10)


@pytest.mark.parametrize("k", [1, 5, 40, pytest.param(330, marks=pytest.mark.slow)]) # more pairs than fit into one stretch
def test_messages_equal_the_ordinary_recursion(k):
    initial, trans, loglik = chain(k, 150, k)
    f, ratio, predicted = np.empty_like(loglik), np.empty_like(loglik), initial
    for t, own in enumerate(np.exp(loglik)):
        c = predicted @ own
        f[t], ratio[t] = predicted * own / c, own / c
        predicted = f[t] @ trans
    beta = np.ones_like(f)
    for t in range(len(f) - 2, -1, -1): beta[t] = trans @ (ratio[t + 1] * beta[t + 1])
    gamma, steps, _ = chains.smooth(initial, trans, loglik)
    assert np.allclose(gamma, f * beta, atol=1e-12)
    assert np.allclose(steps, trans * (f[:-1].T @ (ratio * beta)[1:]), rtol=1e-10)
    xi = f[:-1, :, None] * trans * (ratio * beta)[1:, None, :]
    each = -(gamma[0] * np.log(gamma[0])).sum() - (xi * np.log(xi / gamma[:-1, :, None])).sum() # H(z_1) + sum of H(z_t+1 | z_t)
    assert np.isclose(chains.chain_entropy(initial, trans, loglik), each, rtol=1e-10)


def test_a_state_far_behind_comes_back():
    "Never left: 150 fours put two equal states 1,200 nats behind, 300 zeros bring them back."
    x = np.r_[np.full(150, 4.0), np.zeros(300)]
    args = np.array([0.25, 0.25, 0.5]), np.eye(3), norm.logpdf(x[:, None], [0, 0, 4])
    gamma, steps, log_p = chains.smooth(*args)
    assert abs(log_p + 1614.2155) < 1e-4 and np.allclose(gamma, [0.5, 0.5, 0], atol=1e-12)
    assert np.allclose(steps, np.diag([449 / 2, 449 / 2, 0]), atol=1e-9)
    assert abs(chains.chain_entropy(*args) - np.log(2)) < 1e-12
    assert chains.viterbi(*args)[1] < log_p
    assert set(chains.sample_path(*args, 0, size=40).ravel()) == {0, 1}
    log_filtered, _ = chains.forward(*args)
    assert np.isclose(log_filtered[149, 0], np.log(0.5) - 1200, rtol=1e-12)


@pytest.mark.slow
def test_long_chains_keep_their_digits():
    initial, trans, loglik = chain(3, 20_000, 0)
    wide = [a.astype(np.longdouble) for a in (initial, trans, loglik - 20)]
    exact, ours = chains.smooth(*wide), chains.smooth(initial, trans, loglik - 20)
    assert exact[0].dtype == np.longdouble
    assert np.abs(ours[0] - exact[0]).max() < 1e-13 and np.abs(ours[1] / exact[1] - 1).max() < 1e-12
    assert abs(ours[2] / exact[2] - 1) < 1e-14


def test_impossible_observations_name_their_time():
    initial, trans, loglik = chain(4, 50, 3)
    loglik[17] = -np.inf
    log_filtered, log_norm = chains.forward(initial, trans, loglik)
    assert np.array_equal(log_norm == -np.inf, np.arange(50) >= 17) and not np.isnan(log_filtered).any()
    assert not np.isnan(chains.backward(trans, loglik, log_norm)).any()
    assert chains.chain_entropy(initial, trans, loglik) == 0


def test_published_examples():
    "Jurafsky and Martin's ice cream; Russell and Norvig's umbrella, their prior before the first step."
    initial, trans = np.array([0.8, 0.2]), np.array([[0.6, 0.4], [0.5, 0.5]])
    loglik = np.log(np.array([[0.2, 0.4, 0.4], [0.5, 0.4, 0.1]])[:, [2, 0, 2]]).T
    assert abs(np.exp(chains.log_likelihood(initial, trans, loglik)) - 0.028562) < 1e-15
    path, best = chains.viterbi(initial, trans, loglik)
    assert path.tolist() == [0, 1, 0] and abs(np.exp(best) - 0.0128) < 1e-15
    rain = np.array([[0.7, 0.3], [0.3, 0.7]])
    loglik = np.log(np.array([[0.9, 0.2], [0.1, 0.8]])[[0, 0, 1, 0, 0]])
    args = np.array([0.5, 0.5]) @ rain, rain, loglik
    assert np.allclose(chains.filtering(*args)[0][:, 0], [0.81818182, 0.88335704, 0.19066794, 0.730794, 0.86733889], atol=1e-7)
    assert np.allclose(chains.smooth(*args)[0][:, 0], [0.86733889, 0.82041905, 0.30748358, 0.82041905, 0.86733889], atol=1e-7)
    two = args[0], rain, loglik[:2] # theirs; the five days are recomputed by enumeration
    assert np.allclose([*chains.filtering(*two)[0][:, 0], chains.smooth(*two)[0][0, 0]], [0.818, 0.883, 0.883], atol=5e-4)
    paths, joint = chains.all_paths(*args)
    assert np.allclose(chains.smooth(*args)[0][:, 1], np.exp(joint - logsumexp(joint)) @ paths, atol=1e-12)


def test_sampled_paths_have_the_posterior_frequencies():
    args = chain(3, 4, 5, scale=1.0)
    paths, joint = chains.all_paths(*args)
    p, draws = np.exp(joint - logsumexp(joint)), chains.sample_path(*args, 1, size=40_000)
    share = np.bincount(draws @ 3 ** np.arange(3, -1, -1), minlength=81) / len(draws)
    assert np.all(np.abs(share - p) < 6 * np.sqrt(p * (1 - p) / len(draws)) + 1e-4)
    assert np.array_equal(chains.sample_path(*args, 7), chains.sample_path(*args, 7, size=1)[0])


@settings(max_examples=30, deadline=None)
@given(k=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_stationary_and_predict(k, seed):
    trans = np.random.default_rng(seed).dirichlet(np.ones(k), k)
    delta = chains.stationary(trans)
    assert np.allclose(delta @ trans, delta, atol=1e-13) and abs(delta.sum() - 1) < 1e-13
    rows = np.eye(k)
    for h in range(4):
        assert np.allclose(chains.predict(np.eye(k), trans, h), rows, atol=1e-14)
        rows = rows @ trans


def test_stationary_needs_states_that_meet():
    with pytest.raises(ValueError, match="trans"): chains.stationary(np.eye(2))
    assert np.allclose(chains.stationary(np.array([[0.5, 0.5, 0], [0, 0, 1], [0, 1, 0.0]])), [0, 0.5, 0.5])


def test_counted_steps_of_a_sampled_path_and_its_stays():
    "The share of steps tends to trans; a stay is geometric with mean 1 / (1 - a)."
    initial, trans, _ = chain(3, 1, 8)
    z = chains.sample_states(initial, trans, 30_000, 0)
    first, steps = chains.path_counts([z], 3)
    assert np.allclose(steps / steps.sum(1, keepdims=True), trans, atol=0.03) and first.sum() == 1
    edges = np.flatnonzero(np.diff(z)) + 1
    for i in range(3):
        stays = np.array([b - a for a, b in zip(edges[:-1], edges[1:]) if z[a] == i])
        assert abs(stays.mean() - 1 / (1 - trans[i, i])) < 5 * stays.std() / np.sqrt(len(stays))


def test_old_faithful_as_a_chain():
    "Short and long eruptions: the counts of the chapter, and no sign of a longer memory."
    from em_notes.data.datasets import faithful
    z = (faithful()[:, 0] > 3).astype(int)
    assert chains.path_counts([z], 2)[1].tolist() == [[6, 91], [91, 83]]


def test_shares_of_far_and_impossible_rows():
    logs = np.array([[-1e5, -1e5 + np.log(3)], [-np.inf, 700.0], [-np.inf, -np.inf]])
    assert np.allclose(chains.shares(logs), [[0.25, 0.75], [0, 1], [0, 0]], rtol=1e-10)
