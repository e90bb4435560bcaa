"""Hidden Markov models beside hmmlearn and dynamax: same start, same steps, results compared, A B A B in one process.

hmmlearn runs its 'scaling' implementation with its silent priors off; dynamax runs compiled, in float64, on the CPU.
"""
from __future__ import annotations
import time
from statistics import median

import numpy as np

from .common import interleave, run, seconds, table


def problem(kind: str, k: int, d: int, lengths: list[int], seed: int = 0):
    "Sequences drawn from a sticky model, and a start beside it."
    from em_notes import HMM, Categorical, Gaussian
    rng = np.random.default_rng(seed)
    trans = rng.dirichlet(np.ones(k), k) * 0.3 + 0.7 * np.eye(k)
    def emit(noise):
        if kind == "categorical":
            p = np.random.default_rng(1).dirichlet(np.full(32, 0.5), k) + noise * 0.02 + 1e-3
            return Categorical(p / p.sum(1, keepdims=True))
        means = np.random.default_rng(1).normal(size=(k, d)) * 3 + noise * rng.normal(size=(k, d)) * 0.3
        return Gaussian(means, np.array([np.eye(d)] * k) if kind == "full" else np.ones((k, d)), kind)
    true = HMM(np.full(k, 1 / k), trans, emit(0))
    x, _ = true.sample(lengths, seed)
    return x, HMM(np.full(k, 1 / k), np.full((k, k), 0.5 / k) + 0.5 * np.eye(k), emit(1))


def ours_fit(theta, x, steps):
    from em_notes import em
    return em(theta, x, tol=0, max_iter=steps)


def hmmlearn_model(theta, kind, steps=1):
    from hmmlearn import hmm
    kw = dict(n_components=theta.k, init_params="", n_iter=steps, tol=-np.inf, implementation="scaling")
    if kind == "categorical":
        m = hmm.CategoricalHMM(**kw, n_features=theta.emit.v)
        m.emissionprob_ = theta.emit.probs.copy()
    else:
        m = hmm.GaussianHMM(**kw, covariance_type=kind, covars_prior=0.0, covars_weight=0.0, min_covar=0.0)
        m.means_, m.covars_ = theta.emit.means.copy(), theta.emit.covs.copy()
    m.startprob_, m.transmat_ = theta.initial.copy(), theta.trans.copy()
    return m


def pair(ours, peer, rounds: int, warm: bool = False): # seconds of each, and what each returned last
    "Ours and the peer's in turn. `warm` calls each for a while before its turn, for work of about a millisecond that a rest would leave with cold caches and a slow clock."
    if warm: ours, peer = (Warm(f) for f in (ours, peer))
    (a, b), out = interleave(ours, peer, rounds=rounds)
    return (ours.median(), peer.median(), *out) if warm else (a, b, *out)


class Warm:
    "A call that is made for a twentieth of a second; the last is timed."
    def __init__(self, call): self.call, self.times = call, []
    def __call__(self):
        begin = time.perf_counter()
        while time.perf_counter() < begin + 0.05: self.call()
        begin = time.perf_counter()
        out = self.call()
        self.times.append(time.perf_counter() - begin)
        return out
    def median(self): return median(self.times)


def fits(quick: bool):
    "Whole fits beside hmmlearn."
    cases = [(kind, k, 4, [100_000]) for kind in ("full", "diag", "categorical") for k in (4, 16, 64)]
    cases += [("full", 4, 4, [100] * 1000)]
    if quick: cases = [("full", 4, 4, [20_000]), ("categorical", 16, 1, [20_000]), ("full", 4, 4, [100] * 200)]
    for kind, k, d, lengths in cases:
        x, start = problem(kind, k, d, lengths)
        whole = np.concatenate(x) if kind != "categorical" else np.concatenate(x).astype(int)
        steps = 3 if quick else 10
        ours_fit(start, x, 1) # compile, or load from the cache
        def peer():
            m = hmmlearn_model(start, kind, steps)
            m.fit(whole, lengths)
            return m
        a, b, run, m = pair(lambda: ours_fit(start, x, steps), peer, 1 if quick or k == 64 else 3)
        error = np.abs(run.theta.trans - m.transmat_).max()
        error = max(error, np.abs(run.theta.emit.means - m.means_).max() if kind != "categorical" else np.abs(run.theta.emit.probs - m.emissionprob_).max())
        assert error < 1e-8, error
        yield f"fit, {kind}, k = {k}, {len(lengths)} x {lengths[0]}", "hmmlearn", b / steps, a / steps, error


def viterbi(initial, trans, loglik): # path (n,), log-joint in nats
    "The most likely path of one sequence."
    from em_notes.engine import chains
    path, best = chains.viterbi_all(initial, trans, loglik, np.array([0, len(loglik)]))
    return path, float(best[0])


def smooth(initial, trans, loglik, offsets=None, gamma=None): # gamma (n, k), transitions (k, k), log p(x) (m,)
    "The E-step of a chain, from log-likelihoods."
    from em_notes.engine import chains, tiles
    offsets = np.array([0, len(loglik)]) if offsets is None else offsets
    b, top = tiles.scaled(loglik)
    return chains.smooth_all(initial, trans, b, top, offsets, np.ones(len(offsets) - 1), lambda rows: loglik[rows], gamma)


def paths(quick: bool):
    "Viterbi on arrays."
    from hmmlearn import _hmmc
    for k in (2, 4, 8, 16) if quick else (2, 3, 4, 5, 8, 16, 32, 64):
        n, rng = 20_000 if quick else 100_000, np.random.default_rng(k)
        initial, trans, loglik = np.full(k, 1 / k), rng.dirichlet(np.ones(k), k), rng.normal(size=(n, k)) * 2
        viterbi(initial, trans, loglik)
        a, b, own, other = pair(lambda: viterbi(initial, trans, loglik), lambda: _hmmc.viterbi(initial, trans, loglik), 3 if quick else 7, True)
        error = abs(own[1] / other[0] - 1)
        assert error < 1e-10, error
        yield f"Viterbi, k = {k}, {n} steps", "hmmlearn", b, a, error


def against_dynamax(quick: bool):
    "E-steps and Viterbi beside dynamax, compilation excluded."
    import jax
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import hmm_posterior_mode, hmm_smoother
    from dynamax.hidden_markov_model.inference import compute_transition_probs
    from em_notes.book.chains import path_log_joint
    def e_step(initial, trans, loglik):
        post = hmm_smoother(initial, trans, loglik)
        return post.marginal_loglik, post.smoothed_probs, compute_transition_probs(trans, post)
    one, many = jax.jit(e_step), jax.jit(jax.vmap(e_step, (None, None, 0)))
    mode = jax.jit(hmm_posterior_mode)
    for k in (4, 16) if quick else (4, 16, 64):
        n, rng = 20_000 if quick else 100_000, np.random.default_rng(k)
        initial, trans, loglik = np.full(k, 1 / k), rng.dirichlet(np.ones(k), k), rng.normal(size=(n, k)) * 2
        args = tuple(map(jnp.asarray, (initial, trans, loglik)))
        jax.block_until_ready(one(*args)); smooth(initial, trans, loglik)
        a, b, own, other = pair(lambda: smooth(initial, trans, loglik), lambda: jax.block_until_ready(one(*args)), 5, True)
        error = max(np.abs(own[0] - other[1]).max(), np.abs(own[1] - other[2]).max() / n)
        assert error < 1e-8, error
        yield f"E-step, k = {k}, {n} steps", "dynamax", b, a, float(error)
        jax.block_until_ready(mode(*args)); viterbi(initial, trans, loglik)
        a, b, own, other = pair(lambda: viterbi(initial, trans, loglik), lambda: np.asarray(mode(*args)), 5, True)
        yield f"Viterbi, k = {k}, {n} steps", "dynamax", b, a, abs(path_log_joint(initial, trans, loglik, other) / own[1] - 1)
    k, m, n = 4, 100 if quick else 1000, 100
    rng = np.random.default_rng(0)
    initial, trans, loglik = np.full(k, 1 / k), rng.dirichlet(np.ones(k), k), rng.normal(size=(m, n, k)) * 2
    args = tuple(map(jnp.asarray, (initial, trans, loglik)))
    offsets, flat = np.arange(0, m * n + 1, n), loglik.reshape(-1, k)
    gamma = np.empty_like(flat) # as an E-step does, which keeps it with its data
    def ours(): return smooth(initial, trans, flat, offsets, gamma)
    ours(); jax.block_until_ready(many(*args))
    a, b, own, other = pair(ours, lambda: jax.block_until_ready(many(*args)), 5, True)
    error = np.abs(own[0].reshape(m, n, k) - other[1]).max()
    assert error < 1e-8, error
    yield f"E-step, k = {k}, {m} x {n}", "dynamax", b, a, float(error)


def memory(quick: bool):
    "Peak memory of forward-backward beyond the data, in arrays of n x k."
    import tracemalloc
    from em_notes import HMM, Poisson
    n, k = 200_000 if quick else 10_000_000, 4
    x = np.random.default_rng(0).poisson(5, (n, 1)).astype(float)
    theta = HMM(np.full(k, 1 / k), np.full((k, k), 0.1) + 0.6 * np.eye(k), Poisson(np.arange(1.0, 2 * k, 2)))
    data = theta.prepare(x)
    theta.expected_stats(theta.prepare(x[:100]))
    tracemalloc.start()
    theta.expected_stats(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"Forward-backward over {n:,} steps of four states: {peak / (8 * n * k):.2f} arrays of n x k beyond the data, its results included."


def limited(part, quick: bool, threads: int) -> str:
    "A table with so many threads on both sides."
    from threadpoolctl import threadpool_limits
    from em_notes import settings
    with threadpool_limits(threads), settings.threads(threads):
        rows = [[work, peer, seconds(theirs), seconds(own), f"**{theirs / own:.1f}**", f"{error:.0e}"] for work, peer, theirs, own, error in part(quick)]
    return table(["work", "beside", "its time", "em_notes", "ratio", "difference"], rows)


def sections(quick: bool):
    "Every part: a name for --only, a title, a function that makes its table."
    for threads, words in ((1, "one thread"), (2, "two threads")):
        yield f"fits{threads}", f"Whole fits, time of a step, {words}", lambda n=threads: limited(fits, quick, n)
        yield f"paths{threads}", f"Viterbi on arrays, {words}", lambda n=threads: limited(paths, quick, n)
        yield f"dynamax{threads}", f"E-steps and Viterbi beside dynamax, {words}", lambda n=threads: limited(against_dynamax, quick, n)
    yield "hmm-memory", "Peak memory of forward-backward", lambda: memory(quick)


def main(argv=None): run("Hidden Markov models", __doc__, sections, argv)


if __name__ == "__main__": main()
