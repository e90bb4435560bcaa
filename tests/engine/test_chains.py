"Chains on plain arrays against enumeration, published examples and extended precision."
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import logsumexp

from em_notes import chains, kernels

def chain(k, n, seed, sparse=False):
    rng = np.random.default_rng(seed)
    initial, trans, loglik = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k), rng.normal(size=(n, k)) * 3
    if sparse:
        for i in range(k):
            trans[i, rng.random(k) < 0.4] = 0
            trans[i, i] += 0.1
        trans /= trans.sum(1, keepdims=True)
        loglik[rng.random((n, k)) < 0.2] = -np.inf
    return initial, trans, loglik

def enumerate_all(initial, trans, loglik):
    paths, joint = chains.all_paths(initial, trans, loglik)
    total = logsumexp(joint)
    p, k, n = np.exp(joint - total), len(initial), len(loglik)
    gamma = np.array([[p[paths[:, t] == j].sum() for j in range(k)] for t in range(n)])
    steps = np.array([[sum(p[(paths[:, t] == i) & (paths[:, t + 1] == j)].sum() for t in range(n - 1)) for j in range(k)] for i in range(k)])
    return paths, joint, total, gamma, steps

@settings(max_examples=60, deadline=None)
@given(k=st.integers(1, 3), n=st.integers(1, 8), seed=st.integers(0, 10**6), sparse=st.booleans())
def test_everything_equals_enumeration(k, n, seed, sparse):
    args = chain(k, n, seed, sparse)
    with np.errstate(all="ignore"): paths, joint, total, gamma, steps = enumerate_all(*args)
    if total == -np.inf:
        assert chains.log_likelihood(*args) == -np.inf
        for f in (chains.smooth, chains.filtering, chains.viterbi):
            with pytest.raises(chains.Impossible): f(*args)
        return
    s = chains.smooth(*args)
    assert abs(s.log_likelihood - total) < 1e-12 * (1 + abs(total)) and abs(chains.log_likelihood(*args) - total) < 1e-12 * (1 + abs(total))
    assert np.allclose(s.gamma, gamma, atol=1e-13) and np.allclose(s.transitions, steps, atol=1e-12)
    path, best = chains.viterbi(*args)
    assert abs(best - joint.max()) < 1e-12 * (1 + abs(best)) and abs(chains.path_log_joint(*args, path) - best) < 1e-12 * (1 + abs(best))
    filtered, predicted, _ = chains.filtering(*args)
    for t in range(n): # the filtered row is the last smoothed row of the shorter chain
        assert np.allclose(filtered[t], chains.smooth(args[0], args[1], args[2][:t + 1]).gamma[-1], atol=1e-13)
    ref, ratio, _ = chains.forward(*args)
    beta = chains.backward(args[1], ratio)
    assert np.allclose(ref * beta, gamma, atol=1e-13) and np.allclose(chains.pairs(args[1], ref, ratio, beta).sum(0), steps, atol=1e-12)
    p = np.exp(joint - total)
    assert abs(chains.chain_entropy(*args) + (p[p > 0] * np.log(p[p > 0])).sum()) < 1e-11
    z = chains.sample_path(*args, seed, size=5)
    assert all(chains.path_log_joint(*args, q) > -np.inf for q in z)

@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 70])
def test_every_size_equals_the_numpy_messages(k):
    for n in (1, 2, 3, 4, 5, 31, 100, 4200):
        args = chain(k, n, 100 * k + n)
        if n == 4200 and k > 20: continue
        filtered, ratio, log_norm = chains.forward(*args)
        beta = chains.backward(args[1], ratio)
        s = chains.smooth(*args)
        assert np.abs(s.gamma - filtered * beta).max() < 1e-12
        assert np.allclose(s.transitions, np.einsum("ti,ij,tj->ij", filtered[:-1], args[1], (ratio * beta)[1:]), rtol=1e-11, atol=1e-14)
        assert np.isclose(s.log_likelihood, log_norm.sum(), rtol=1e-13)
        path, best = chains.viterbi(*args)
        assert np.isclose(chains.path_log_joint(*args, path), best, rtol=1e-13)
        d = np.log(args[0]) + args[2][0]
        for own in args[2][1:]: d = (d[:, None] + np.log(args[1])).max(0) + own
        assert np.isclose(best, d.max(), rtol=1e-13)

def test_ice_cream():
    "Jurafsky and Martin: three days of ice cream, 3, 1, 3; states hot and cold."
    initial, trans = np.array([0.8, 0.2]), np.array([[0.6, 0.4], [0.5, 0.5]])
    emit = np.array([[0.2, 0.4, 0.4], [0.5, 0.4, 0.1]])
    loglik = np.log(emit[:, [2, 0, 2]]).T
    alpha = np.array([[0.32, 0.02], [0.0404, 0.069], [0.023496, 0.005066]])
    filtered, ratio, log_norm = chains.forward(initial, trans, loglik)
    assert np.allclose(filtered * np.exp(np.cumsum(log_norm))[:, None], alpha, rtol=1e-12)
    assert abs(np.exp(chains.smooth(initial, trans, loglik).log_likelihood) - 0.028562) < 1e-15
    path, best = chains.viterbi(initial, trans, loglik)
    assert path.tolist() == [0, 1, 0] and abs(np.exp(best) - 0.0128) < 1e-15

def test_umbrella():
    "Russell and Norvig: the prior stands before the first step."
    trans = np.array([[0.7, 0.3], [0.3, 0.7]])
    loglik = np.log(np.array([[0.9, 0.2], [0.1, 0.8]])[[0, 0, 1, 0, 0]])
    args = np.array([0.5, 0.5]) @ trans, trans, loglik
    filtered, predicted, total = chains.filtering(*args)
    assert np.allclose(filtered[:, 0], [0.81818182, 0.88335704, 0.19066794, 0.730794, 0.86733889], atol=1e-7)
    assert np.allclose(chains.smooth(*args).gamma[:, 0], [0.86733889, 0.82041905, 0.30748358, 0.82041905, 0.86733889], atol=1e-7)
    assert abs(np.exp(total) - 0.0343037005) < 1e-10
    assert abs(chains.smooth(args[0], trans, loglik[:2]).gamma[0, 0] - 0.8833570412517782) < 1e-14
    assert np.allclose(predicted[1:], filtered[:-1] @ trans, atol=1e-15) and np.array_equal(predicted[0], args[0])

@pytest.mark.parametrize("k", [3, 6])
def test_a_million_steps_in_extended_precision(k):
    "Scaled messages keep 1e-12 where plain log-space does not."
    n, rng = 1_000_000, np.random.default_rng(0)
    initial, trans = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k)
    loglik = rng.normal(size=(n, k)) * 2 - 3
    s = chains.smooth(initial, trans, loglik)
    L = np.longdouble
    a, b, c = np.empty((n, k), L), np.exp(loglik.astype(L)), np.empty(n, L)
    tr, v = trans.astype(L), initial.astype(L)
    for t in range(n):
        u = a[t]
        np.multiply(v, b[t], out=u)
        c[t] = u.sum()
        u /= c[t]
        v = u @ tr
    assert abs(float(np.log(c).sum()) / s.log_likelihood - 1) < 1e-12
    back, e, steps = np.ascontiguousarray(tr.T), np.ones(k, L), np.zeros((k, k), L)
    b /= c[:, None]
    worst = 0.0
    for t in range(n - 2, -1, -1): # gamma is checked in stretches, as b is no longer needed behind
        e = (b[t + 1] * e) @ back
        b[t + 1] = e
    e = b[1:]
    gamma = np.concatenate([a[:-1] * e, a[-1:]])
    gamma /= gamma.sum(1, keepdims=True)
    worst = np.abs(s.gamma - gamma).max()
    assert worst < 1e-12, worst
    w = np.exp(loglik[1:].astype(L)) / c[1:, None] * np.concatenate([e[1:], np.ones((1, k), L)])
    steps = sum(a[i:i + 4096][:len(w[i:i + 4096])].T @ w[i:i + 4096] for i in range(0, n - 1, 4096)) * tr
    assert np.abs(s.transitions / steps - 1).max() < 1e-12

def test_rows_that_underflow_are_done_in_logs():
    "The most likely state cannot be reached, by 5,000 nats; or a message vanishes and must come back."
    initial, trans = np.array([1.0, 0, 0]), np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1.0]])
    loglik = np.array([[-5000.0, 0, 0], [-3000, -2000, 10], [0, -4000, -4001], [-1e4, -1e4, 0], [0, 0, -900]])
    paths, joint, total, gamma, steps = enumerate_all(initial, trans, loglik)
    s = chains.smooth(initial, trans, loglik)
    assert np.isclose(s.log_likelihood, total, rtol=1e-14) and np.allclose(s.gamma, gamma, atol=1e-12) and np.allclose(s.transitions, steps, atol=1e-12)
    assert np.isclose(chains.log_likelihood(initial, trans, loglik), total, rtol=1e-14)
    for n in (2, 3, 20, 101): # one state at each end is certain, by far more than floating point holds
        far = np.zeros((n, 2)); far[0, 1] = far[-1, 0] = -2000
        sticky = np.array([[1 - 1e-12, 1e-12], [1e-12, 1 - 1e-12]])
        s = chains.smooth([0.5, 0.5], sticky, far)
        assert np.isclose(s.transitions[0, 1], 1, atol=1e-9) and np.allclose(s.gamma.sum(1), 1)

@pytest.mark.parametrize("k", [2, 5])
def test_impossible_observations_name_their_time(k):
    initial, trans, loglik = chain(k, 50, 3)
    loglik[17] = -np.inf
    for f in (chains.smooth, chains.filtering, chains.viterbi):
        with pytest.raises(chains.Impossible, match="time 17") as e: f(initial, trans, loglik)
        assert e.value.time == 17
    assert chains.log_likelihood(initial, trans, loglik) == -np.inf

def test_one_state_and_absorbing_states():
    s = chains.smooth([1.0], [[1.0]], np.full((7, 1), -2.0))
    assert s.log_likelihood == -14 and np.all(s.gamma == 1) and s.transitions[0, 0] == 6
    s = chains.smooth([0.5, 0.5], np.eye(2), np.log([[0.9, 0.1]] * 40))
    assert np.allclose(s.gamma[:, 0], 1 / (1 + 9.0 ** -40), rtol=1e-13) and s.transitions[0, 1] == 0

def test_sampled_paths_have_the_posterior():
    args = chain(3, 5, 8)
    paths, joint, total, gamma, _ = enumerate_all(*args)
    z = chains.sample_path(*args, rng=1, size=40_000)
    code = 3 ** np.arange(4, -1, -1)
    seen = np.bincount(z @ code, minlength=243) / len(z)
    p = np.exp(joint - total)
    assert np.all(np.abs(seen - p) < 6 * np.sqrt(p * (1 - p) / len(z)) + 1e-9)
    assert np.array_equal(z, chains.sample_path(*args, rng=1, size=40_000))
    assert chains.sample_path(*args, rng=1).shape == (5,)

def test_missing_rows_are_flat():
    initial, trans, loglik = chain(3, 30, 4)
    loglik[10:15] = 0
    s = chains.smooth(initial, trans, loglik)
    _, predicted, _ = chains.filtering(initial, trans, loglik)
    assert np.allclose(predicted[14], chains.filtering(initial, trans, loglik[:10])[0][-1] @ np.linalg.matrix_power(trans, 5), atol=1e-14)
    assert np.allclose(s.gamma.sum(1), 1)

def test_stationary():
    for k in (1, 2, 5, 30):
        trans = np.random.default_rng(k).dirichlet(np.ones(k), k)
        p = chains.stationary(trans)
        assert np.allclose(p @ trans, p, atol=1e-14) and np.isclose(p.sum(), 1)
    assert np.allclose(chains.stationary([[0.9, 0.1], [0.3, 0.7]]), [0.75, 0.25])
    assert np.allclose(chains.stationary([[0.5, 0.5], [0, 1]]), [0, 1], atol=1e-15)
    with pytest.raises(ValueError, match="one stationary"): chains.stationary(np.eye(2))

@pytest.mark.parametrize("change, message", [
    (dict(trans=[[0.6, 0.4], [0.5, 0.43]]), "trans row 1 sums to 0.93, expected 1"),
    (dict(trans=[[1.2, -0.2], [0.5, 0.5]]), r"trans must lie in \[0, 1\]"),
    (dict(trans=np.eye(3)), r"trans must have shape \(2, 2\)"),
    (dict(initial=[0.5, 0.6]), "initial sums to 1.1"),
    (dict(initial=[[0.5, 0.5]]), "initial must have shape"),
    (dict(loglik=np.zeros((4, 3))), r"loglik must have shape \(n, 2\)"),
    (dict(loglik=np.zeros((0, 2))), "at least one row"),
    (dict(loglik=np.full((2, 2), np.nan)), r"loglik\[0, 0\] is nan"),
    (dict(loglik=np.full((2, 2), np.inf)), r"loglik\[0, 0\] is inf")])
def test_errors(change, message):
    args = dict(initial=[0.5, 0.5], trans=[[0.5, 0.5], [0.5, 0.5]], loglik=np.zeros((3, 2))) | change
    for f in (chains.smooth, chains.filtering, chains.viterbi, chains.log_likelihood):
        with pytest.raises(ValueError, match=message): f(**args)

def test_bit_identical_at_any_thread_count():
    for k in (3, 7, 16):
        args = chain(k, 9001, k)
        seen = []
        for n in (1, 2, 3):
            with kernels.threads(n):
                s = chains.smooth(*args)
                path, best = chains.viterbi(*args)
            seen.append((s.gamma.tobytes(), s.transitions.tobytes(), s.log_likelihood, path.tobytes(), best))
        assert seen[0] == seen[1] == seen[2]

def test_import_is_cheap():
    code = "import sys, em_notes.chains, em_notes.hmm; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130]

@pytest.mark.parametrize("k", WIDTHS)
def test_every_width_and_length(k): # each number of states has its own lanes, each length its own middle
    rng = np.random.default_rng(k)
    initial, trans = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k)
    for n in [*range(1, 12), 37, 38]:
        loglik = rng.normal(size=(n, k)) * 3
        s, (gamma, steps, total) = chains.smooth(initial, trans, loglik), chains.messages(initial, trans, loglik)
        assert np.abs(s.gamma - gamma).max() < 1e-14 and np.abs(s.transitions - steps).max() < 1e-13 * n and np.isclose(s.log_likelihood, total, rtol=1e-13)
        filtered, predicted, total = chains.filtering(initial, trans, loglik)
        assert np.abs(filtered - chains.forward(initial, trans, loglik)[0]).max() < 1e-14 and np.isclose(total, s.log_likelihood, rtol=1e-13)
        path, best = chains.viterbi(initial, trans, loglik)
        oracle = chains.best_path(np.log(initial), np.log(trans), loglik)
        assert np.array_equal(path, oracle[0]) and np.isclose(best, oracle[1], rtol=1e-13)

@pytest.mark.parametrize("k", [3, 8, 12, 40])
def test_zeros_and_outliers_at_every_width(k): # a left-to-right chain, and rows that only unreachable states explain
    rng = np.random.default_rng(k)
    trans = np.triu(rng.random((k, k)))
    trans /= trans.sum(1, keepdims=True)
    initial = np.eye(k)[0]
    loglik = rng.normal(size=(60, k))
    loglik[::7, -1] += 2000 # the last state, far off at first
    loglik[3, 1:] = -np.inf
    s, (gamma, steps, total) = chains.smooth(initial, trans, loglik), chains.messages(initial, trans, loglik)
    assert np.abs(s.gamma - gamma).max() < 1e-12 and np.allclose(s.transitions, steps, rtol=1e-11, atol=1e-13) and np.isclose(s.log_likelihood, total, rtol=1e-13)
    assert not s.transitions[trans == 0].any() and not s.gamma[3, 1:].any()
    path, best = chains.viterbi(initial, trans, loglik)
    assert np.isclose(best, chains.path_log_joint(initial, trans, loglik, path), rtol=1e-13)
    loglik[5] = -np.inf
    with pytest.raises(chains.Impossible) as e: chains.smooth(initial, trans, loglik)
    assert e.value.time == 5

@pytest.mark.parametrize("k", [3, 12])
def test_many_sequences_are_each_alone(k):
    rng = np.random.default_rng(k)
    initial, trans = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k)
    lengths = rng.integers(1, 30, 50)
    offsets, weights = np.r_[0, np.cumsum(lengths)], rng.integers(1, 4, 50).astype(float)
    loglik = rng.normal(size=(offsets[-1], k)) * 2
    b, top = chains.likelihoods(loglik)
    gamma, steps, total = chains.smooth_all(initial, trans, b, top, offsets, weights, lambda s: loglik[offsets[s]:offsets[s + 1]])
    alone = [chains.smooth(initial, trans, loglik[i:j]) for i, j in zip(offsets[:-1], offsets[1:])]
    assert np.allclose(gamma, np.concatenate([s.gamma for s in alone]), atol=1e-14) and np.allclose(total, [s.log_likelihood for s in alone], rtol=1e-13)
    assert np.allclose(steps, sum(w * s.transitions for w, s in zip(weights, alone)), rtol=1e-12)

@pytest.mark.parametrize("k", [2, 3, 9])
def test_any_order_and_type_of_the_numbers(k):
    rng = np.random.default_rng(k)
    loglik = np.round(rng.normal(size=(50, k)) * 8) / 4 # exact in single precision
    plain = chains.likelihoods(loglik)
    for other in (np.asfortranarray(loglik), loglik.astype(np.float32), loglik[::-1][::-1], np.repeat(loglik, 2, 1)[:, ::2]):
        assert all(map(np.array_equal, plain, chains.likelihoods(other)))
    initial, trans, offsets = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k), np.array([0, 20, 50])
    whole = [chains.smooth_all(initial, trans, b, plain[1], offsets, np.ones(2), None) for b in (plain[0], np.asfortranarray(plain[0]))]
    assert all(map(np.array_equal, *whole))

@pytest.mark.parametrize("k", [2, 9])
def test_filtering_remembers_who_falls_behind(k): # the last state is 800 nats behind the first for a while, and right in the end
    n, rng = 2400, np.random.default_rng(k)
    initial, trans = np.full(k, 1 / k), np.eye(k)
    loglik = np.zeros((n, k))
    loglik[:400, 1:], loglik[400:1200, :-1] = -2, -2
    total = logsumexp(np.log(initial) + loglik.sum(0))
    filtered, _, log_p = chains.filtering(initial, trans, loglik)
    assert np.isclose(log_p, total, rtol=1e-12) and abs(filtered[-1, -1] - 1) < 1e-12
    assert np.isclose(chains.smooth(initial, trans, loglik).log_likelihood, total, rtol=1e-12)
    assert np.all(chains.sample_path(initial, trans, loglik, rng) == k - 1)
