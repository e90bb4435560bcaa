"Chains for many sequences: against enumeration, the lesson's functions, extended precision, and where states fall far behind."
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import logsumexp

from em_notes.book import chains as lesson
from em_notes.engine import chains
from em_notes.settings import backend, threads


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


def one(n):
    return np.array([0, n])


def smooth(initial, trans, loglik, offsets=None, weights=None):
    "The E-step's way, from scaled likelihoods."
    offsets = one(len(loglik)) if offsets is None else offsets
    top = loglik.max(1)
    top[top == -np.inf] = 0.0
    weights = np.ones(len(offsets) - 1) if weights is None else weights
    return chains.smooth_all(initial, trans, np.exp(loglik - top[:, None]), top, offsets, weights, lambda rows: loglik[rows])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(k=st.integers(1, 3), n=st.integers(1, 7), seed=st.integers(0, 10**6), sparse=st.booleans())
def test_everything_equals_enumeration(k, n, seed, sparse):
    initial, trans, loglik = args = chain(k, n, seed, sparse)
    paths, joint = lesson.all_paths(*args)
    total, o = logsumexp(joint), one(n)
    if total == -np.inf:
        stop = chains.filter_all(*args, o)[2][0]
        assert all(lesson.log_likelihood(initial, trans, loglik[:t]) > -np.inf for t in range(1, stop + 1)) and lesson.log_likelihood(initial, trans, loglik[:stop + 1]) == -np.inf
        assert chains.viterbi_all(*args, o)[1][0] == -np.inf and smooth(*args)[2][0] == -np.inf and not smooth(*args)[0].any()
        return
    p = np.exp(joint - total)
    gamma = np.array([[p[paths[:, t] == j].sum() for j in range(k)] for t in range(n)])
    steps = np.array([[sum(p[(paths[:, t] == i) & (paths[:, t + 1] == j)].sum() for t in range(n - 1)) for j in range(k)] for i in range(k)])
    for own in (smooth(*args), chains.posterior_all(*args, o, np.ones(1))[1:]):
        assert np.allclose(own[0], gamma, atol=1e-13) and np.allclose(own[1], steps, atol=1e-12) and abs(own[2][0] - total) < 1e-12 * (1 + abs(total))
    path, best = chains.viterbi_all(*args, o)
    assert abs(best[0] - joint.max()) < 1e-12 * (1 + abs(best[0])) and abs(lesson.path_log_joint(*args, path) - best[0]) < 1e-12 * (1 + abs(best[0]))
    assert abs(chains.entropy_all(*args, o)[0] + (p[p > 0] * np.log(p[p > 0])).sum()) < 1e-11
    assert all(lesson.path_log_joint(*args, z) > -np.inf for z in chains.sample_all(*args, o, np.random.default_rng(seed), 5)[0])


WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 70]


@pytest.mark.parametrize("k", WIDTHS)
def test_every_width_and_length(k):  # each number of states has its own lanes, each length its own middle
    for n in [1, 2, 3, 4, 5, 6, 9, 38]:
        args = chain(k, n, 100 * k + n, sparse=False)
        want = lesson.smooth(*args)
        for own in (smooth(*args), chains.posterior_all(*args, one(n), np.ones(1))[1:]):
            assert np.abs(own[0] - want[0]).max() < 1e-13 and np.abs(own[1] - want[1]).max() < 1e-13 * n and np.isclose(own[2][0], want[2], rtol=1e-13)
        path, best = chains.viterbi_all(*args, one(n))
        oracle = lesson.viterbi(*args)
        assert np.array_equal(path, oracle[0]) and np.isclose(best[0], oracle[1], rtol=1e-13)
        assert np.isclose(chains.entropy_all(*args, one(n))[0], lesson.chain_entropy(*args), rtol=1e-10, atol=1e-13)
        assert np.array_equal(chains.sample_all(*args, one(n), np.random.default_rng(0), 2)[0], lesson.sample_path(*args, 0, 2))


@pytest.mark.parametrize("k", [3, 8, 12, 40])
def test_zeros_and_outliers_at_every_width(k):  # a left-to-right chain, and rows that only unreachable states explain
    rng = np.random.default_rng(k)
    trans = np.triu(rng.random((k, k)))
    trans /= trans.sum(1, keepdims=True)
    initial = np.eye(k)[0]
    loglik = rng.normal(size=(60, k))
    loglik[::7, -1] += 2000  # the last state, far off at first
    loglik[3, 1:] = -np.inf
    args = initial, trans, loglik
    want = lesson.smooth(*args)
    for own in (smooth(*args), chains.posterior_all(*args, one(60), np.ones(1))[1:]):
        assert np.abs(own[0] - want[0]).max() < 1e-12 and np.allclose(own[1], want[1], rtol=1e-10, atol=1e-13) and np.isclose(own[2][0], want[2], rtol=1e-13)
        assert not own[1][trans == 0].any() and not own[0][3, 1:].any()
    path, best = chains.viterbi_all(*args, one(60))
    assert np.isclose(best[0], lesson.path_log_joint(*args, path), rtol=1e-13)
    assert np.isclose(chains.entropy_all(*args, one(60))[0], lesson.chain_entropy(*args), rtol=1e-9, atol=1e-12)
    loglik[5] = -np.inf
    assert chains.filter_all(*args, one(60))[2][0] == 5


@pytest.mark.parametrize("k", [2, 9])
def test_who_falls_behind_is_remembered(k):  # the last state is 800 nats behind the first for a while, and right in the end
    initial, trans, loglik = np.full(k, 1 / k), np.eye(k), np.zeros((2400, k))
    loglik[:400, 1:], loglik[400:1200, :-1] = -2, -2
    total = logsumexp(np.log(initial) + loglik.sum(0))
    logs, log_p, _ = chains.filter_all(initial, trans, loglik, one(2400))
    assert np.isclose(log_p[0], total, rtol=1e-12) and abs(np.exp(logs[-1, -1]) - 1) < 1e-12 and np.isclose(logs[400, -1], -800, rtol=0.01)
    assert np.isclose(smooth(initial, trans, loglik)[2][0], total, rtol=1e-12)
    assert np.all(chains.sample_all(initial, trans, loglik, one(2400), np.random.default_rng(0))[0] == k - 1)
    assert abs(chains.entropy_all(initial, trans, loglik, one(2400))[0]) < 1e-9
    for n in (2, 3, 20, 101):  # one state at each end is certain, by far more than floating point holds
        far = np.zeros((n, 2)); far[0, 1] = far[-1, 0] = -2000
        sticky = np.array([[1 - 1e-12, 1e-12], [1e-12, 1 - 1e-12]])
        gamma, steps, _ = smooth(np.array([0.5, 0.5]), sticky, far)
        assert np.isclose(steps[0, 1], 1, atol=1e-9) and np.allclose(gamma.sum(1), 1)


@pytest.mark.parametrize("k", [3, 12])
def test_many_sequences_are_each_alone(k):
    rng = np.random.default_rng(k)
    initial, trans = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k)
    lengths = rng.integers(1, 30, 50)
    offsets, weights = np.r_[0, np.cumsum(lengths)], rng.integers(1, 4, 50).astype(float)
    loglik = rng.normal(size=(offsets[-1], k)) * 2
    loglik[offsets[7], 1:] -= 3000  # this one is done in logs
    loglik[offsets[9]] = -np.inf  # and this one is impossible
    parts = [loglik[i:j] for i, j in zip(offsets[:-1], offsets[1:])]
    alone = [lesson.smooth(initial, trans, p) for p in parts]
    gamma, steps, total = smooth(initial, trans, loglik, offsets, weights)
    assert np.allclose(gamma, np.concatenate([a[0] for a in alone]), atol=1e-13) and np.allclose(total, [a[2] for a in alone], rtol=1e-13)
    assert np.allclose(steps, sum(w * a[1] for w, a in zip(weights, alone)), rtol=1e-12)
    _, gamma, steps, total = chains.posterior_all(initial, trans, loglik, offsets)
    assert np.allclose(gamma, np.concatenate([a[0] for a in alone]), atol=1e-13) and np.allclose(steps, [a[1] for a in alone], atol=1e-12)
    ok = total > -np.inf
    path, best = chains.viterbi_all(initial, trans, loglik, offsets)
    assert all(np.array_equal(path[i:j], lesson.viterbi(initial, trans, p)[0]) for i, j, p, good in zip(offsets[:-1], offsets[1:], parts, ok) if good)
    assert np.allclose(chains.entropy_all(initial, trans, loglik, offsets)[ok], [lesson.chain_entropy(initial, trans, p) for p, good in zip(parts, ok) if good], atol=1e-11)
    assert chains.filter_all(initial, trans, loglik, offsets)[2].tolist() == [0 if s == 9 else -1 for s in range(50)]


@pytest.mark.parametrize("k", [3, 6])
def test_many_steps_in_extended_precision(k):
    "Scaled messages keep 1e-12 where plain log-space does not."
    n, rng = 100_000, np.random.default_rng(0)
    initial, trans = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k)
    loglik = rng.normal(size=(n, k)) * 2 - 3
    gamma, steps, total = smooth(initial, trans, loglik)
    L = np.longdouble
    a, b, c = np.empty((n, k), L), np.exp(loglik.astype(L)), np.empty(n, L)
    tr, v = trans.astype(L), initial.astype(L)
    for t in range(n):
        u = v * b[t]
        c[t] = u.sum()
        a[t] = u / c[t]
        v = a[t] @ tr
    log_p = float(np.log(c).sum())
    logs, other, _ = chains.filter_all(initial, trans, loglik, one(n))
    assert abs(log_p / total[0] - 1) < 1e-12 and abs(log_p / other[0] - 1) < 1e-12 and np.abs(np.exp(logs) - a).max() < 1e-12
    back, e, b = np.ascontiguousarray(tr.T), np.ones((n, k), L), b / c[:, None]
    for t in range(n - 2, -1, -1): e[t] = (b[t + 1] * e[t + 1]) @ back
    want = a * e
    assert np.abs(gamma - want / want.sum(1, keepdims=True)).max() < 1e-12
    assert np.abs(steps / ((a[:-1].T @ (b * e)[1:]) * tr) - 1).max() < 1e-12


@pytest.mark.parametrize("k", [2, 3, 9])
def test_any_order_and_type_of_the_numbers(k):
    rng = np.random.default_rng(k)
    loglik = np.round(rng.normal(size=(50, k)) * 8) / 4
    initial, trans, offsets = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k), np.array([0, 20, 50])
    want = chains.viterbi_all(initial, trans, loglik, offsets), chains.filter_all(initial, trans, loglik, offsets)[0], chains.entropy_all(initial, trans, loglik, offsets)
    read_only = loglik.copy(); read_only.flags.writeable = False
    for other in (np.asfortranarray(loglik), loglik[::-1][::-1], np.repeat(loglik, 2, 1)[:, ::2], read_only):
        assert all(map(np.array_equal, want[0], chains.viterbi_all(initial, np.asfortranarray(trans), other, offsets)))
        assert np.array_equal(want[1], chains.filter_all(initial, trans, other, offsets)[0]) and np.array_equal(want[2], chains.entropy_all(initial, trans, other, offsets))


def test_sampled_paths_have_the_posterior():
    args = chain(3, 5, 8)
    paths, joint = lesson.all_paths(*args)
    z = chains.sample_all(*args, one(5), np.random.default_rng(1), 10_000)[0]
    seen = np.bincount(z @ 3 ** np.arange(4, -1, -1), minlength=243) / len(z)
    p = np.exp(joint - logsumexp(joint))
    often = p > 20 / len(z)
    assert p[often].sum() > 0.95 and abs(seen[often].sum() - p[often].sum()) < 0.01
    assert np.all(np.abs(seen - p)[often] < 5 * np.sqrt(p * (1 - p) / len(z))[often])


def test_forecasts():
    rng = np.random.default_rng(0)
    trans, now = rng.dirichlet(np.ones(4), 4), rng.dirichlet(np.ones(4), 3)
    for steps in (1, 2, 3, 17, 1000): assert np.allclose(chains.predict_all(now, trans, steps), now @ np.linalg.matrix_power(trans, steps), atol=1e-13)
    for steps in (10 ** 15, int(1e300)): assert np.allclose(chains.predict_all(now, trans, steps), lesson.stationary(trans), atol=1e-12)
    slow = np.array([[1 - 1e-9, 1e-9], [3e-9, 1 - 3e-9]])
    for steps in (10 ** 8, 10 ** 12): assert np.allclose(chains.predict_all(np.array([1.0, 0]), slow, steps), [0.75 + 0.25 * np.exp(-4e-9 * steps), 0.25 - 0.25 * np.exp(-4e-9 * steps)], atol=1e-6)
    ring = np.roll(np.eye(5), 1, 1)
    assert np.array_equal(chains.predict_all(np.eye(5)[0], ring, 10 ** 18 + 3), np.eye(5)[3])  # a periodic chain stays so
    split = np.array([[0.5, 0.3, 0.2], [0, 1, 0], [0, 0, 1.0]])  # and one with two ends keeps both
    assert np.allclose(chains.predict_all(np.array([1.0, 0, 0]), split, 10 ** 20), [0, 0.6, 0.4], atol=1e-14)


def test_bit_identical_at_any_thread_count():
    for k in (3, 16):
        initial, trans, loglik = chain(k, 9001, k)
        offsets, seen = np.array([0, 5, 5000, 5001, 9001]), []
        for n in (1, 2, 3):
            with threads(n):
                found = [*smooth(initial, trans, loglik, offsets), *chains.posterior_all(initial, trans, loglik, offsets, np.ones(4)), *chains.viterbi_all(initial, trans, loglik, offsets)]
            seen.append([a.tobytes() for a in found])
        assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", ["numba", "numpy"])
def test_fixed_lag(name):
    initial, trans, loglik = chain(3, 40, 1, True)
    loglik[:, 0] = np.maximum(loglik[:, 0], -50)
    trans[:, 0] += 0.1
    trans /= trans.sum(1, keepdims=True)
    offsets = np.array([0, 1, 12, 40])
    with backend(name):
        for lag in (0, 1, 4, 50):
            out = chains.lagged_all(initial, trans, loglik, offsets, lag)
            for a, z in zip(offsets[:-1], offsets[1:]):
                for t in range(a, z): assert np.allclose(out[t], lesson.smooth(initial, trans, loglik[a:min(z, t + lag + 1)])[0][t - a], atol=1e-12)


def test_import_is_cheap():
    code = "import sys, em_notes.engine.chains, em_notes.models.hmm; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
